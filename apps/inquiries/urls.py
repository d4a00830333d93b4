"""Routes of inquiries; fixed words come before ids."""

from django.urls import include, path

from apps.inquiries.api.inquiries import InquiryViewSet

_routes = [
    path("inquiries", InquiryViewSet.as_view({"get": "list", "post": "create"})),
    path("inquiries/status/<str:status>", InquiryViewSet.as_view({"get": "by_status"})),
    path("inquiries/<str:pk>", InquiryViewSet.as_view({"get": "retrieve", "put": "update", "delete": "destroy"})),
    path("inquiries/<str:pk>/respond", InquiryViewSet.as_view({"post": "respond"})),
    path("executions/<str:pk>/inquiries", InquiryViewSet.as_view({"get": "of_execution"})),
]

urlpatterns = [path("api/v1/", include(_routes))]
