"""The tutorial's certificate: an async view reads the template with aiofiles and replaces %timestamp% in
its bytes. In its best form: no middleware, no sessions, no debugging; the template's stream isn't
compressed, or there would be nothing to replace. What comes of it has wrong offsets as soon as a value is
longer or shorter than its placeholder; readers repair that, mostly.

    TEMPLATE=/somewhere/certificate.pdf uvicorn certificate:application
"""

import datetime
import os

import aiofiles
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

TEMPLATE = os.environ["TEMPLATE"]

settings.configure(DEBUG=False, SECRET_KEY="bench", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
django.setup()


async def certificate(request):
    async with aiofiles.open(TEMPLATE, "rb") as file:
        pdf = await file.read()
    pdf = pdf.replace(b"%timestamp%", datetime.datetime.utcnow().strftime("%Y-%m-%d").encode())
    pdf = pdf.replace(b"%name%", request.GET["name"].encode("latin-1"))
    return HttpResponse(pdf, content_type="application/pdf",
                        headers={"Content-Disposition": 'attachment; filename="certificate.pdf"'})


urlpatterns = [path("certificate", certificate)]
application = get_asgi_application()
