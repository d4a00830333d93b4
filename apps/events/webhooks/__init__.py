"""
Webhooks: requests from outside that become events (events.md section 10).

Pure: ``config`` what a trigger asks for, ``signatures`` and ``presets`` who really sent it, ``bodies`` what it says,
``traces`` what is kept of a request. With rows: ``services`` switching and settings, ``receiving`` one request,
``rates`` how many are let through.
"""
