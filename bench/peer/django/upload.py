"""What an upload service on Django looks like: an async view, the form's file written with aiofiles,
SHA-256 on the way, and with SYNC=1 synced and renamed before the answer, as the gateway does.

    PORT=8000 FOLDER=/somewhere uvicorn upload:application
"""

import asyncio
import hashlib
import os
import secrets

import aiofiles
import aiofiles.os
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import path

FOLDER = os.environ["FOLDER"]
SYNC = os.environ.get("SYNC") == "1"
CHUNK = 1 << 20

settings.configure(
    DEBUG=False,
    SECRET_KEY="bench",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    FILE_UPLOAD_TEMP_DIR=FOLDER,
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
)
django.setup()


def sync_folder():
    folder = os.open(FOLDER, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


async def upload(request):
    files = []
    for sent in request.FILES.getlist("file"):
        name = secrets.token_hex(16)
        digest = hashlib.sha256()
        size = 0
        async with aiofiles.open(f"{FOLDER}/{name}.tmp", "wb") as file:
            for chunk in sent.chunks(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                await file.write(chunk)
            if SYNC:
                await file.flush()
                await asyncio.to_thread(os.fdatasync, file.fileno())
        await aiofiles.os.rename(f"{FOLDER}/{name}.tmp", f"{FOLDER}/{name}")
        if SYNC:
            await asyncio.to_thread(sync_folder)
        files.append({"id": name, "name": sent.name, "size": size, "sha256": digest.hexdigest()})
    return JsonResponse({"files": files}, status=201)


urlpatterns = [path("upload", upload)]
application = get_asgi_application()
