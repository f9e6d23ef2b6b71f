"""A scripted origin: each path answers what its test says, with headers as given."""

import asyncio
import json
import re

from faults import Faults


class Origin(Faults):
    """`serves(path, fn)`: fn(request) gives a dict of status, headers (a list of pairs), body (bytes,
    or anything as JSON), after (seconds), or a list of such dicts, one for each time. `asked` counts
    requests by path, `heads` holds the requests' headers, lower case, last values."""

    def __init__(self):
        super().__init__()
        self.table = {}
        self.heads = []
        self.methods = []

    def serves(self, path, *answers):
        self.table[path] = list(answers)

    def asked(self, path):
        return sum(1 for other, _ in self.requests if other.split("?")[0] == path)

    async def behave(self, path, reader, writer):
        head = self.requests[-1][1]
        lines = head.split("\r\n")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name:
                fields[name.lower()] = value.strip()
        method = lines[0].split(" ")[0]
        self.heads.append((path, fields))
        self.methods.append((method, path))
        if length := re.search(r"(?im)^content-length: *(\d+)", head):
            await reader.readexactly(int(length[1]))
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                await reader.readexactly(size + 2)
            await reader.readuntil(b"\r\n")
        answers = self.table.get(path.split("?")[0])
        if not answers:
            one = {"status": 404}
        else:
            one = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(one):
            one = one(path, fields)
        if one.get("after"):
            await self.wait(reader, one["after"])
        if one.get("until"):
            await asyncio.get_running_loop().run_in_executor(None, one["until"].wait, 30)
        status = one.get("status", 200)
        body = one.get("body", {"n": len(self.requests)})
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = list(one.get("headers", []))
        names = {name.lower() for name, _ in headers}
        if "content-type" not in names and status != 304:
            headers.append(("Content-Type", "application/json"))
        text = f"HTTP/1.1 {status} As Asked\r\n"
        text += "".join(f"{name}: {value}\r\n" for name, value in headers)
        if status in (204, 304) or method == "HEAD":
            body = b""
        if status not in (204, 304) and "content-length" not in names:
            text += f"Content-Length: {len(body)}\r\n"
        writer.write(text.encode("latin-1") + b"\r\n" + body)
        await writer.drain()
        return True
