"""The server, asked by OpenAI's own client over a real socket, with a real (tiny) model behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
import uvicorn

from stylellm.delivery.engine import Engine
from stylellm.delivery.serve import create_app
from stylellm.generation.sampler import Sampling, generate
from stylellm.generation.strength import load_authors, strength

GREEDY = {"temperature": 0, "max_tokens": 12}
DRAWN = Sampling(max_new_tokens=12, repetition_penalty=1.0)
GREEDILY = Sampling(max_new_tokens=12, repetition_penalty=1.0, do_sample=False)
PROMPT = "剑光一闪"


class Slow(Engine):
    """An engine whose texts take as long as a test needs."""

    pause = threading.Event()
    pause.set()
    steps = 0

    def write(self, job: Any, cancelled: Any, on_text: Any = None) -> Any:
        watch = cancelled.is_set

        def is_set() -> bool:
            Slow.steps += 1
            self.pause.wait(20)
            return watch()

        cancelled.is_set = is_set
        return super().write(job, cancelled, on_text)


@pytest.fixture(scope="module")
def policy(make_policy: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("other")
    make_policy(trained=True, seed=7).save_pretrained(str(folder))
    policy = make_policy(trained=True)
    load_authors(policy, {"古龙": Path(folder)})
    return policy


def serve(app: Any) -> tuple[uvicorn.Server, str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


@pytest.fixture(scope="module")
def address(policy: Any, tiny_tokenizer: Any) -> Iterator[str]:
    engine = Slow(policy, tiny_tokenizer, DRAWN, name="wuxia")
    server, address = serve(create_app(engine, max_queue=2))
    yield address
    server.should_exit = True


@pytest.fixture(scope="module")
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def direct(policy: Any, tokenizer: Any, value: float = 1.0, **options: Any) -> str:
    policy.set_adapter("default")
    with strength(policy, value):
        return generate(policy, tokenizer, [PROMPT], GREEDILY, seed=0, **options)[0]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["wuxia", "古龙"]
    assert client.models.retrieve("古龙").owned_by == "stylellm"
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.models.retrieve("gpt-9")


def test_strength_goes_from_the_base_to_the_policy(
    client: openai.OpenAI, policy: Any, tiny_tokenizer: Any
) -> None:
    texts = {}
    for value in (0, 1, 0.5):
        found = client.completions.create(
            model="wuxia", prompt=PROMPT, extra_body={"strength": value}, **GREEDY
        )
        texts[value] = found.choices[0].text
    assert texts[0] == direct(policy, tiny_tokenizer, use_adapter=False)
    assert texts[1] == direct(policy, tiny_tokenizer)
    assert texts[0.5] == direct(policy, tiny_tokenizer, 0.5)
    assert len(set(texts.values())) > 1


def test_usage_and_ends(client: openai.OpenAI, tiny_tokenizer: Any) -> None:
    found = client.completions.create(
        model="wuxia", prompt=[PROMPT, "他"], n=2, seed=3, max_tokens=9
    )
    read = sum(len(tiny_tokenizer(text)["input_ids"]) for text in (PROMPT, "他"))
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    assert found.usage.prompt_tokens == read
    assert found.usage.total_tokens == read + found.usage.completion_tokens
    if all(choice.finish_reason == "length" for choice in found.choices):
        assert found.usage.completion_tokens == 4 * 9
    word = found.choices[0].text[2:4]
    again = client.completions.create(
        model="wuxia", prompt=PROMPT, seed=3, max_tokens=9, stop=[word]
    )
    assert again.choices[0].text == found.choices[0].text.split(word)[0]
    assert again.choices[0].finish_reason == "stop"


def test_seed_is_told_and_draws_the_same(client: openai.OpenAI) -> None:
    first = client.completions.create(model="wuxia", prompt=PROMPT)
    seed = first.model_extra["seed"]
    again = client.completions.create(model="wuxia", prompt=PROMPT, seed=seed)
    assert again.choices[0].text == first.choices[0].text
    texts = {client.completions.create(model="wuxia", prompt=PROMPT).choices[0].text
             for _ in range(4)}  # fmt: skip
    assert len(texts) > 1


def test_tokens_as_prompt(client: openai.OpenAI, tiny_tokenizer: Any) -> None:
    ids = tiny_tokenizer(PROMPT)["input_ids"]
    for prompt in (ids, [ids]):
        found = client.completions.create(model="wuxia", prompt=prompt, **GREEDY)
        wanted = client.completions.create(model="wuxia", prompt=PROMPT, **GREEDY)
        assert found.choices[0].text == wanted.choices[0].text


@pytest.mark.parametrize("chat", [False, True])
def test_stream_is_the_whole_text_in_pieces(client: openai.OpenAI, chat: bool) -> None:
    options: dict[str, Any] = {"model": "wuxia", "seed": 5, "n": 2, "max_tokens": 20}
    ask = {"messages": [{"role": "user", "content": PROMPT}]} if chat else {"prompt": PROMPT}
    create: Any = client.chat.completions.create if chat else client.completions.create
    whole = create(**options, **ask)
    pieces = list(create(**options, **ask, stream=True, stream_options={"include_usage": True}))
    texts, ends = ["", ""], [None, None]
    for piece in pieces:
        for choice in piece.choices:
            texts[choice.index] += (choice.delta.content or "") if chat else choice.text
            ends[choice.index] = choice.finish_reason
    assert texts == [(c.message.content if chat else c.text) for c in whole.choices]
    assert ends == [choice.finish_reason for choice in whole.choices]
    assert pieces[-1].usage == whole.usage
    assert len(pieces) > 6


def test_a_base_model_goes_on_with_the_messages(client: openai.OpenAI) -> None:
    turns = [{"role": "user", "content": "夜已深，"}, {"role": "assistant", "content": PROMPT}]
    chat = client.chat.completions.create(model="wuxia", messages=turns, **GREEDY)
    plain = client.completions.create(model="wuxia", prompt=f"夜已深，\n{PROMPT}", **GREEDY)
    assert chat.choices[0].message.content == plain.choices[0].text


def test_an_instruct_model_gets_its_form(policy: Any, tiny_tokenizer: Any) -> None:
    tokenizer = tiny_tokenizer
    before = tokenizer.chat_template
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    try:
        engine = Engine(policy, tokenizer, DRAWN, name="x", chat=True)
        assert engine.conversation([{"role": "user", "content": "问"}]) == "[user]问[assistant]"
    finally:
        tokenizer.chat_template = before


def test_authors_by_model_by_field_and_mixed(client: openai.OpenAI) -> None:
    def text(model: str, **fields: Any) -> str:
        found = client.completions.create(model=model, prompt=PROMPT, extra_body=fields, **GREEDY)
        return found.choices[0].text

    own, other = text("wuxia"), text("古龙")
    assert own != other
    assert text("wuxia", author="古龙") == other
    assert text("wuxia", author="default") == own
    assert text("wuxia", author="default=1,古龙=0.001") == own
    assert text("wuxia") == own


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"strength": 3}, "strength: Input should be less than or equal to 2"),
        ({"strenght": 1}, "unknown field 'strenght'"),
        ({"author": "金庸"}, "no author '金庸' is loaded"),
        ({"author": "古龙=x"}, "names with weights"),
        ({"max_tokens": 300}, "maximum context length is 256"),
        ({"prompt": "剑" * 400}, "maximum context length is 256"),
        ({"prompt": [99999]}, "outside the vocabulary"),
        ({"prompt": []}, "a prompt without tokens"),
        ({"logit_bias": {"5": 1}}, "logit_bias is not served"),
        ({"frequency_penalty": 0.5}, "frequency_penalty is not served"),
        ({"temperature": -1}, "temperature"),
    ],
)
def test_refused(client: openai.OpenAI, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="wuxia", prompt=PROMPT, extra_body=fields)
    assert said in caught.value.body["message"]
    assert caught.value.body["type"] == "invalid_request_error"


def test_unknown_models_and_bodies(client: openai.OpenAI, address: str) -> None:
    with pytest.raises(openai.NotFoundError, match="wuxia or 古龙"):
        client.completions.create(model="gpt-9", prompt=PROMPT)
    bad = httpx.post(f"{address}/v1/completions", content=b"{")
    assert bad.status_code == 400
    assert "error" in bad.json()
    assert client.completions.create(
        model="wuxia", prompt=PROMPT, user="me", frequency_penalty=0, **GREEDY
    ).choices


def test_requests_at_the_same_time_write_what_they_would_alone(client: openai.OpenAI) -> None:
    """Two of them, as many as this server lets wait; each with its own strength and author."""

    def text(job: tuple[str, float]) -> str:
        found = client.completions.create(
            model=job[0], prompt=PROMPT, seed=1, max_tokens=20, extra_body={"strength": job[1]}
        )
        return found.choices[0].text

    for jobs in ([("wuxia", 1), ("古龙", 0.5)], [("古龙", 1), ("wuxia", 0)]):
        alone = [text(job) for job in jobs]
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(text, jobs)) == alone


def test_a_full_line_is_refused_and_clears(client: openai.OpenAI, address: str) -> None:
    Slow.pause.clear()
    try:
        with ThreadPoolExecutor(2) as pool:
            ask = lambda _: client.completions.create(model="wuxia", prompt=PROMPT, **GREEDY)  # noqa: E731
            waiting = [pool.submit(ask, i) for i in range(2)]
            while httpx.get(f"{address}/health").json()["waiting"] < 2:
                time.sleep(0.02)
            for stream in (False, True):
                with pytest.raises(openai.InternalServerError, match="too many") as caught:
                    client.completions.create(model="wuxia", prompt=PROMPT, stream=stream)
                assert caught.value.status_code == 503
            Slow.pause.set()
            assert all(future.result().choices for future in waiting)
    finally:
        Slow.pause.set()
    assert httpx.get(f"{address}/health").json() == {"status": "ok", "waiting": 0}


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_stops_its_text(address: str, stream: bool) -> None:
    """It would draw 200 tokens; a second after the client has gone it has not."""
    Slow.pause.clear()
    body = {"model": "wuxia", "prompt": PROMPT, "max_tokens": 200, "stream": stream, "seed": 1}
    body |= {"temperature": 1.0, "top_p": 1.0}
    with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.5) as http:
        http.post(f"{address}/v1/completions", json=body)
    time.sleep(0.6)  # longer than it takes to notice
    before = Slow.steps
    Slow.pause.set()
    while httpx.get(f"{address}/health").json()["waiting"]:
        time.sleep(0.02)
    assert Slow.steps - before < 20


def test_api_key(policy: Any, tiny_tokenizer: Any) -> None:
    engine = Engine(policy, tiny_tokenizer, DRAWN, name="wuxia")
    server, address = serve(create_app(engine, api_key="geheim 密"))
    right = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="wrong or missing API key"):
        right.models.list()
    with pytest.raises(openai.AuthenticationError):
        right.completions.create(model="wuxia", prompt=PROMPT)
    assert httpx.get(f"{address}/health").status_code == 200
    server.should_exit = True
    server, address = serve(create_app(engine, api_key="secret"))
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="secret", max_retries=0)
    assert client.completions.create(model="wuxia", prompt=PROMPT, **GREEDY).choices
    server.should_exit = True


def test_nothing_random_is_left_behind(client: openai.OpenAI) -> None:
    """The server's draws have generators of their own."""
    state = torch.random.get_rng_state()
    client.completions.create(model="wuxia", prompt=PROMPT)
    assert torch.equal(state, torch.random.get_rng_state())
