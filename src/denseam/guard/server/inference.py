"""The routes of the Open Inference Protocol, and what becomes of a request there.

read -> judge -> set aside -> answer
"""

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from torch import Tensor

from denseam.guard import Verdicts
from denseam.guard.server import answers
from denseam.guard.server.answers import Json
from denseam.guard.server.gate import source_of
from denseam.guard.server.openapi import DocumentedRoute
from denseam.guard.server.protocol import BINARY, InferRequest, Question, decode
from denseam.guard.server.quarantine import items_of
from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.service import Service

__all__ = ["ROUTES", "of_model", "set_aside"]


async def live(_request: Request) -> Response:
    """Say that the server runs."""
    return Json(answers.Live(True))


async def ready(request: Request) -> Response:
    """Say whether it can infer, and how its quarantine is."""
    return Json(_service(request).readiness())


async def server(request: Request) -> Response:
    """Describe the server."""
    return Json(answers.server_metadata(_service(request).settings.name))


async def model(request: Request) -> Response:
    """Describe the guard."""
    service = of_model(request)
    return Json(answers.metadata(service.guard, service.settings.name, service.settings.max_batch))


async def model_ready(request: Request) -> Response:
    """Say whether the guard can infer."""
    return Json(answers.ModelReady(of_model(request).settings.name, True))


async def infer(request: Request) -> Response:
    """Judge images; what is set aside is on the disk before the answer."""
    service = of_model(request)
    question, images = await _read(service, request)
    verdicts = await _judge(service, request, images)
    service.metrics.judged(verdicts)
    request.state.log.update(images=len(images), rejected=verdicts.n_rejected)
    ids, kept = await set_aside(service, request, question, images, verdicts)
    return answers.infer_response(question, service.settings.name, verdicts, ids, kept=kept)


async def explain(request: Request) -> Response:
    """Name the memories that voted for one image."""
    service = of_model(request)
    _, images = await _read(service, request)
    return Json(await service.aside(partial(answers.explanation, service.guard, images)))


async def metrics(request: Request) -> Response:
    """Count for Prometheus."""
    page = _service(request).metrics.page()
    return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def of_model(request: Request) -> Service:
    """Return the service if the path names its model, and its version where it names one."""
    service, name = _service(request), request.path_params["name"]
    if name != (known := service.settings.name):
        raise RefusedError(404, "no_model", f"no model {name[:64]!r}: this server has {known!r}")
    version = request.path_params.get("version", answers.VERSION)
    if version != answers.VERSION:
        has = f"{known!r} has {answers.VERSION!r}"
        raise RefusedError(404, "no_model", f"no version {version[:64]!r}: {has}")
    return service


async def _read(service: Service, request: Request) -> tuple[Question, Tensor]:
    """Return the question of a body and its images (B, H, W).

    Raises:
        RefusedError: when the body is no inference, or there is no room.
    """
    if service.batcher.full:
        await service.bodies.discard(request)
        raise RefusedError.busy("queue_full", "too many images are under way: come back")
    body = await service.bodies.read(request)
    try:
        return decode(
            body, request.headers.get(BINARY), service.guard.n_visible, service.guard.image_shape,
            max_batch=service.settings.max_batch,
        )  # fmt: skip
    finally:
        service.bodies.release(len(body))


async def _judge(service: Service, request: Request, images: Tensor) -> Verdicts:
    """Return verdicts on images; the models are not asked once the client has gone.

    Raises:
        RefusedError: when there is no room.
        AnswerError: when a member of the guard answers what cannot be used.
    """
    if not service.batcher.under_way:  # the answer comes at once
        return await service.batcher.ask(images)
    answer = asyncio.create_task(service.batcher.ask(images))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise RefusedError(400, "broken_off", "the client has gone")
        return answer.result()
    finally:
        for task in (answer, gone):
            task.cancel()


async def _gone(request: Request) -> None:
    """Return when the client has gone; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def set_aside(
    service: Service, request: Request, question: Question, images: Tensor, verdicts: Verdicts
) -> tuple[list[str], bool]:
    """Put what was rejected into the quarantine.

    Returns:
        An id for each image, "" for one that is not there; and whether all that was to go there is.
    """
    ids = [""] * len(images)
    if service.keeper is None or not verdicts.n_rejected:
        return ids, True
    items = items_of(
        images, verdicts, source_of(request, question.source),
        model=service.settings.name, n_classes=service.guard.n_classes,
    )  # fmt: skip
    kept = await service.keeper.keep(list(items.values()))
    service.metrics.kept(len(items), done=kept)
    if kept:
        for i, item in items.items():
            ids[i] = str(item.id)
    return ids, kept


def _of_a_model(path: str) -> list[DocumentedRoute]:
    return [
        DocumentedRoute(path, model, answer=answers.Model),
        DocumentedRoute(f"{path}/ready", model_ready, answer=answers.ModelReady),
        DocumentedRoute(
            f"{path}/infer", infer, answer=answers.InferResponse, body=InferRequest, errors=(502,)
        ),
        DocumentedRoute(f"{path}/explain", explain, answer=answers.Explanation, body=InferRequest),
    ]


ROUTES = [
    DocumentedRoute("/v2", server, answer=answers.Server),
    DocumentedRoute("/v2/health/live", live, answer=answers.Live),
    DocumentedRoute("/v2/health/ready", ready, answer=answers.Ready),
    *_of_a_model("/v2/models/{name}"),
    *_of_a_model("/v2/models/{name}/versions/{version}"),
    DocumentedRoute("/metrics", metrics, answer=str),
]
