// Uploads a file with tus-js-client: node tus.mjs ENDPOINT FILE OPTIONS
//
// OPTIONS is JSON: chunk (bytes of a PATCH; none = the file at once), stop (bytes after which it
// leaves, as somebody does who closes the page), state (a file in which it finds uploads that it
// left), with_creation (the first bytes come with POST), deferred (the length isn't told), metadata.
// Prints JSON: what happened, the upload's URL, and each request it made.

import { createReadStream, statSync } from "node:fs";
import { PassThrough } from "node:stream";
import { FileUrlStorage, Upload } from "tus-js-client";

const [endpoint, path, text] = process.argv.slice(2);
const options = JSON.parse(text ?? "{}");
const requests = [];

function finish(state, more = {}) {
  console.log(JSON.stringify({ state, url: upload.url, requests, ...more }));
  process.exit(0);
}

// A stream whose file it doesn't know: of a file it announces more bytes than its last piece has.
const file = createReadStream(path);
const source = options.deferred ? file.pipe(new PassThrough()) : file;

const upload = new Upload(source, {
  endpoint,
  chunkSize: options.chunk ?? Infinity,
  uploadSize: options.deferred ? null : statSync(path).size,
  uploadLengthDeferred: options.deferred ?? false,
  uploadDataDuringCreation: options.with_creation ?? false,
  metadata: options.metadata ?? {},
  urlStorage: options.state ? new FileUrlStorage(options.state) : undefined,
  storeFingerprintForResuming: options.state !== undefined,
  fingerprint: async () => path,
  retryDelays: options.retries ?? [],
  onAfterResponse: (request, response) => {
    requests.push([request.getMethod(), response.getStatus()]);
  },
  onChunkComplete: (_, sent) => {
    if (options.stop !== undefined && sent >= options.stop) upload.abort().then(() => finish("left"));
  },
  onSuccess: () => finish("uploaded"),
  onError: (error) => finish("failed", { error: String(error) }),
});

if (options.state) {
  const [previous] = await upload.findPreviousUploads();
  if (previous) upload.resumeFromPreviousUpload(previous);
}
upload.start();
