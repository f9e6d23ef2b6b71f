// What an upload service on Fastify looks like: @fastify/multipart, streamed into a file, SHA-256 on
// the way, and with SYNC=1 synced and renamed before the answer, as the gateway does.
// node server.mjs PORT FOLDER
import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import Fastify from 'fastify';
import multipart from '@fastify/multipart';

const [port, folder] = process.argv.slice(2);
const sync = process.env.SYNC === '1';
const server = Fastify({ bodyLimit: 2 ** 40 });
server.register(multipart, { limits: { fileSize: 2 ** 40 } });

server.post('/upload', async (request, reply) => {
  const files = [];
  for await (const part of request.files()) {
    const id = randomBytes(16).toString('hex');
    const digest = createHash('sha256');
    let size = 0;
    const tap = new Transform({
      transform(chunk, _encoding, done) {
        digest.update(chunk);
        size += chunk.length;
        done(null, chunk);
      },
    });
    const path = `${folder}/${id}`;
    await pipeline(part.file, tap, createWriteStream(`${path}.tmp`));
    if (sync) {
      const file = await open(`${path}.tmp`);
      await file.datasync();
      await file.close();
    }
    await rename(`${path}.tmp`, path);
    if (sync) {
      const directory = await open(folder);
      await directory.sync();
      await directory.close();
    }
    files.push({ id, name: part.filename, size, sha256: digest.digest('hex') });
  }
  return reply.code(201).send({ files });
});

server.listen({ port: Number(port), host: '127.0.0.1' });
