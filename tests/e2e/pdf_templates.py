"""PDF templates with %placeholders%, written by hand so that nothing about them is a tool's choice:
plain() is the kind that tutorials use, of 10 KB; with_font() embeds a whole TrueType font, so that
values may have any character of it.

    pdf_templates.py plain >certificate.pdf
    pdf_templates.py /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf >certificate.pdf
"""

import math
import struct
import sys
import zlib

WIDTH, HEIGHT = 842, 595  # A4 across
MARGIN = 90
INK, TEAL, RUST = "0.14 0.19 0.18", "0.14 0.35 0.37", "0.66 0.29 0.16"


class Document:
    """Objects in the order in which they are added, then the classical cross-reference table."""

    def __init__(self, packed=True):
        self.packed = packed
        self.body, self.offsets = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []

    def add(self, entry):
        self.offsets.append(len(self.body))
        self.body += f"{len(self.offsets)} 0 obj\n".encode()
        self.body += entry.encode() if isinstance(entry, str) else entry
        self.body += b"\nendobj\n"
        return len(self.offsets)

    def add_stream(self, data, entries=""):
        if self.packed:
            data, entries = zlib.compress(data, 9), "/Filter /FlateDecode " + entries
        return self.add(f"<< /Length {len(data)} {entries}>>\nstream\n".encode() + data + b"\nendstream")

    def finish(self, root, info):
        table = "".join(f"{offset:010} 00000 n \n" for offset in self.offsets)
        count = len(self.offsets) + 1
        return bytes(self.body) + (
            f"xref\n0 {count}\n0000000000 65535 f \n{table}"
            f"trailer\n<< /Size {count} /Root {root} 0 R /Info {info} 0 R >>\n"
            f"startxref\n{len(self.body)}\n%%EOF\n").encode()


def rosette(x, y, radius, depth, petals, points):
    """A line as on banknotes: a circle whose radius swings."""
    line = []
    for i in range(points):
        angle = 2 * math.pi * i / points
        r = radius + depth * math.sin(petals * angle)
        line.append(f"{x + r * math.cos(angle):.1f} {y + r * math.sin(angle):.1f} {'l' if line else 'm'}")
    return " ".join(line) + " s"


def decoration(points):
    waves = []
    for phase in (0, math.pi):
        for y in (30, HEIGHT - 30):
            waves.append(" ".join(
                f"{x} {y + 6 * math.sin(x / 9 + phase):.1f} {'m' if x == 40 else 'l'}"
                for x in range(40, WIDTH - 39, 6)) + " S")
    rosettes = [rosette(668, 160, radius, depth, petals, points)
                for radius, depth, petals in ((84, 14, 24), (62, 18, 13), (34, 14, 9))]
    return "\n".join((
        f"0.992 0.98 0.957 rg 0 0 {WIDTH} {HEIGHT} re f",
        f"{TEAL} RG 1.2 w 20 20 {WIDTH - 40} {HEIGHT - 40} re S 40 40 {WIDTH - 80} {HEIGHT - 80} re S",
        "0.7 w", *waves, f"{RUST} RG 0.5 w", *rosettes,
        f"{TEAL} RG 0.8 w {MARGIN} 335 m {WIDTH - MARGIN} 335 l S"))


def written(show, lines):
    """Lines of (font, size, y, colour, text). They begin at the margin, for a value can have any length."""
    return "\n".join(f"BT {colour} rg /{font} {size} Tf {MARGIN} {y} Td {show(text)} Tj ET"
                     for font, size, y, colour, text in lines)


def page(document, resources, text, points=480):
    """The catalog, one page, and the document's information."""
    content = document.add_stream((decoration(points) + "\n" + text + "\n").encode())
    first = len(document.offsets) + 1
    document.add(f"<< /Type /Page /Parent {first + 1} 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] "
                 f"/Contents {content} 0 R /Resources << /Font << {resources} >> >> >>")
    document.add(f"<< /Type /Pages /Kids [{first} 0 R] /Count 1 >>")
    root = document.add(f"<< /Type /Catalog /Pages {first + 1} 0 R >>")
    info = document.add("<< /Title (Certificate) >>")
    return document.finish(root, info)


def plain(packed=True, name="%name%"):
    """Standard fonts in WinAnsiEncoding: what Latin-1 has, and a few signs more. Not packed there are
    fewer curves in it, and it is of 10 KB just the same. `name`: what stands where a certificate has its
    name; Latin letters."""
    document = Document(packed)
    resources = ""
    for key, base in (("T", "Times-Roman"), ("I", "Times-Italic"), ("M", "Courier")):
        font = document.add(f"<< /Type /Font /Subtype /Type1 /BaseFont /{base} /Encoding /WinAnsiEncoding >>")
        resources += f"/{key} {font} 0 R "
    text = written(lambda words: f"({words})", (
        ("T", 46, 470, TEAL, "Certificate of Completion"),
        ("I", 18, 420, INK, "This is to certify that"),
        ("T", 44, 350, RUST, name),
        ("I", 18, 300, INK, "has completed the course on"),
        ("T", 20, 268, INK, "%timestamp%"),
        ("M", 9, 66, INK, "%serial%"),
        ("M", 9, 54, INK, "%verify_url%")))
    return page(document, resources, text, 480 if packed else 65)


# -- a whole font -- #

class TrueType:
    """What a PDF must know about a font's file: which glyph a character has, and how wide it is."""

    def __init__(self, data):
        self.data, self.tables = data, {}
        for i in range(struct.unpack_from(">H", data, 4)[0]):
            tag, _, offset, length = struct.unpack_from(">4sIII", data, 12 + 16 * i)
            self.tables[tag.decode()] = offset, length
        self.units = self.at("head", ">H", 18)
        self.box = [round(v * 1000 / self.units) for v in self.list("head", ">4h", 36)]
        self.glyphs = self.at("maxp", ">H", 4)
        self.ascent, self.descent = (round(v * 1000 / self.units) for v in self.list("hhea", ">2h", 4))
        long_metrics = self.at("hhea", ">H", 34)
        metrics = self.list("hmtx", f">{2 * long_metrics}H", 0)
        widths = [round(w * 1000 / self.units) for w in metrics[::2]]
        self.widths = widths + [widths[-1]] * (self.glyphs - long_metrics)
        self.glyph = self.read_cmap()

    def list(self, table, layout, offset):
        return struct.unpack_from(layout, self.data, self.tables[table][0] + offset)

    def at(self, table, layout, offset):
        return self.list(table, layout, offset)[0]

    def read_cmap(self):
        """{character: glyph} of the Unicode table for the basic plane (format 4)."""
        for i in range(self.at("cmap", ">H", 2)):
            platform, encoding, at = self.list("cmap", ">HHI", 4 + 8 * i)
            if (platform, encoding) == (3, 1) and self.at("cmap", ">H", at) == 4:
                break
        else:
            sys.exit("the font has no Unicode table")
        count = self.at("cmap", ">H", at + 6) // 2
        ends = self.list("cmap", f">{count}H", at + 14)
        starts, deltas, offsets = (self.list("cmap", f">{count}H", at + 16 + 2 * count * k) for k in (1, 2, 3))
        glyph = {}
        for n, (start, end, delta, offset) in enumerate(zip(starts, ends, deltas, offsets)):
            for character in range(start, min(end, 0xfffe) + 1):
                number = character
                if offset:
                    place = at + 16 + 6 * count + 2 * n + offset + 2 * (character - start)
                    number = self.at("cmap", ">H", place)
                    if number == 0:
                        continue
                if (number + delta) & 0xffff:
                    glyph[character] = (number + delta) & 0xffff
        return glyph


def unicode_map(glyph):
    """ToUnicode: what each glyph reads as; where characters share one, the first."""
    meant = {}
    for character, number in sorted(glyph.items()):
        meant.setdefault(number, character)
    pairs = [f"<{number:04x}> <{character:04x}>" for number, character in sorted(meant.items())]
    parts = [pairs[i:i + 100] for i in range(0, len(pairs), 100)]
    return "\n".join((
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
        "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
        "1 begincodespacerange <0000> <ffff> endcodespacerange",
        *(f"{len(part)} beginbfchar\n" + "\n".join(part) + "\nendbfchar" for part in parts),
        "endcmap CMapName currentdict /CMap defineresource pop end end")).encode()


def with_font(path, name="%name%"):
    """All of one font is in the file (Identity-H, glyph numbers as codes): nothing is a subset."""
    with open(path, "rb") as file:
        font = TrueType(file.read())
    document = Document()
    program = document.add_stream(font.data, f"/Length1 {len(font.data)} ")
    meaning = document.add_stream(unicode_map(font.glyph))
    descriptor = document.add(
        f"<< /Type /FontDescriptor /FontName /Whole /Flags 4 /FontBBox [{' '.join(map(str, font.box))}] "
        f"/ItalicAngle 0 /Ascent {font.ascent} /Descent {font.descent} /CapHeight {font.ascent} /StemV 80 "
        f"/FontFile2 {program} 0 R >>")
    descendant = document.add(
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Whole /CIDToGIDMap /Identity "
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> "
        f"/FontDescriptor {descriptor} 0 R /W [0 [{' '.join(map(str, font.widths))}]] >>")
    whole = document.add(
        f"<< /Type /Font /Subtype /Type0 /BaseFont /Whole /Encoding /Identity-H "
        f"/DescendantFonts [{descendant} 0 R] /ToUnicode {meaning} 0 R >>")

    def show(words):
        return "<" + "".join(f"{font.glyph[ord(c)]:04x}" for c in words) + ">"

    text = written(show, (
        ("W", 40, 470, TEAL, "Certificate of Completion"),
        ("W", 16, 420, INK, "This is to certify that"),
        ("W", 40, 350, RUST, name),
        ("W", 16, 300, INK, "has completed the course on"),
        ("W", 18, 268, INK, "%timestamp%"),
        ("W", 9, 66, INK, "%serial%"),
        ("W", 9, 54, INK, "%verify_url%")))
    return page(document, f"/W {whole} 0 R", text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.stdout.buffer.write(plain() if sys.argv[1] == "plain" else with_font(sys.argv[1]))
