"""The product's pages and API as a WSGI application."""

from django.core.wsgi import get_wsgi_application

from settings.entry import load_or_exit

load_or_exit()
application = get_wsgi_application()
