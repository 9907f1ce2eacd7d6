"""The routes of the Open Inference Protocol, and the memories beside a verdict."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from denseam.guard.server import answers
from denseam.guard.server.answers import Json
from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.service import Service
from denseam.guard.server.voters import voters

__all__ = ["ROUTES"]

_VOTERS = 8


async def live(_request: Request) -> Response:
    """Whether the server runs."""
    return Json({"live": True})


async def ready(request: Request) -> Response:
    """Whether it can infer, and how its quarantine is."""
    return Json(_service(request).readiness())


async def server(request: Request) -> Response:
    """What it is."""
    return Json(answers.server_metadata(_service(request).settings.name))


async def model(request: Request) -> Response:
    """What the guard takes and gives."""
    service = _named(request)
    return Json(answers.metadata(service.guard, service.settings.name, service.settings.max_batch))


async def model_ready(request: Request) -> Response:
    """Whether the guard can infer."""
    _named(request)
    return Json({"name": request.path_params["name"], "ready": True})


async def infer(request: Request) -> Response:
    """Verdicts on images; what is set aside is on the disk before the answer."""
    service = _named(request)
    asked, images = await service.read(request)
    verdicts = await service.judge(request, images)
    service.metrics.judged(verdicts)
    request.state.log.update(images=len(images), rejected=verdicts.n_rejected)
    ids, kept = await service.set_aside(request, asked, images, verdicts)
    return answers.infer_response(asked, service.settings.name, verdicts, ids, kept=kept)


async def explain(request: Request) -> Response:
    """The memories that voted for one image."""
    service = _named(request)
    _, images = await service.read(request)
    return Json(await service.aside(partial(voters, service.guard, images, _VOTERS)))


async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    page = _service(request).metrics.page()
    return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _named(request: Request) -> Service:
    """The service, if it is its model that was asked for."""
    service, name = _service(request), request.path_params["name"]
    if name != service.settings.name:
        wanted = service.settings.name
        raise RefusedError(404, "no_model", f"no model {name[:64]!r}: this server has {wanted!r}")
    return service


ROUTES = [
    Route("/v2", server),
    Route("/v2/health/live", live),
    Route("/v2/health/ready", ready),
    Route("/v2/models/{name}", model),
    Route("/v2/models/{name}/ready", model_ready),
    Route("/v2/models/{name}/infer", infer, methods=["POST"]),
    Route("/v2/models/{name}/explain", explain, methods=["POST"]),
    Route("/metrics", metrics),
]
