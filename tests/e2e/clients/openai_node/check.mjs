// The official `openai` package for Node, pointed at the gateway.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";

const { CHECK_GATEWAY, CHECK_SIMULATOR, CHECK_ACCESS_LOG, METERWAY_DEMO_KEY, METERWAY_SMALL_KEY } = process.env;
const messages = [{ role: "user", content: "Hello!" }];
const SAID = "Hello from the simulator. You said: Hello!";
const weather = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};
const checks = [];

const check = (name, run) => checks.push([name, run]);
const client = (options = {}) =>
  new OpenAI({ baseURL: CHECK_GATEWAY, apiKey: METERWAY_DEMO_KEY, timeout: 10_000, ...options });
const simulator = async (what) => (await fetch(`${CHECK_SIMULATOR}/_sim/${what}`)).json();
const providerRequests = async (model) =>
  (await simulator("requests")).map((one) => JSON.parse(one.body || "{}")).filter((body) => body.model === model);
const gatewayLines = (model) =>
  readFileSync(CHECK_ACCESS_LOG, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line))
    .filter((line) => line.model === model);

async function refusal(kind, model, options = {}, request = {}) {
  try {
    await client(options).chat.completions.create({ model, messages, ...request });
  } catch (error) {
    assert.ok(error instanceof kind, `${error?.constructor?.name}: ${error}`);
    return error;
  }
  assert.fail(`${model} answered instead of ${kind.name}`);
}

async function counted(model, run) {
  const before = [gatewayLines(model).length, (await providerRequests(model)).length];
  const found = await run();
  await sleep(150);
  return [found, gatewayLines(model).length - before[0], (await providerRequests(model)).length - before[1]];
}

async function eventually(happens, timeoutMs = 5000) {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const found = await happens();
    if (found) return found;
    assert.ok(Date.now() < until, "it did not come true in time");
    await sleep(20);
  }
}

check("models_are_listed", async () => {
  const names = [];
  for await (const model of client().models.list()) names.push(model.id);
  assert.ok(names.includes("assistant") && names.includes("embedder"), names.join());
});

check("chat", async () => {
  const answer = await client().chat.completions.create({ model: "assistant", messages });
  assert.equal(answer.choices[0].message.content, SAID);
  assert.ok(answer.usage.total_tokens > 0);
});

check("headers_of_a_raw_response", async () => {
  const { data, response } = await client().chat.completions.create({ model: "assistant", messages }).withResponse();
  assert.match(response.headers.get("x-request-id"), /^req_/);
  assert.match(response.headers.get("x-gateway-target"), /^sim-[ab]\/sim-large$/);
  assert.equal(data._request_id, response.headers.get("x-request-id"));
});

check("stream_without_usage", async () => {
  let said = "";
  for await (const chunk of await client().chat.completions.create({ model: "assistant", messages, stream: true })) {
    assert.equal(chunk.choices.length, 1, "the usage chunk was not asked for");
    assert.ok(!("usage" in chunk));
    said += chunk.choices[0].delta.content ?? "";
  }
  assert.equal(said, SAID);
});

check("stream_with_usage", async () => {
  const chunks = [];
  const asked = { stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await client().chat.completions.create({ model: "assistant", messages, ...asked }))
    chunks.push(chunk);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.ok(chunks.at(-1).usage.total_tokens > 0);
});

check("parallel_tool_calls_and_their_results", async () => {
  const ask = (history) => client().chat.completions.create({ model: "two-tools", messages: history, tools: [weather] });
  const { message } = (await ask(messages)).choices[0];
  assert.deepEqual(message.tool_calls.map((call) => JSON.parse(call.function.arguments).city), ["Paris", "Rome"]);
  const results = message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "sunny" }));
  const last = await ask([...messages, message, ...results]);
  assert.ok(last.choices[0].message.content);
});

check("streamed_tool_calls_come_in_fragments", async () => {
  const stream = client().chat.completions.stream({ model: "two-tools", messages, tools: [weather] });
  const { message } = (await stream.finalChatCompletion()).choices[0];
  assert.deepEqual(message.tool_calls.map((call) => JSON.parse(call.function.arguments).city), ["Paris", "Rome"]);
});

check("structured_output", async () => {
  const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };
  const response_format = { type: "json_schema", json_schema: { name: "city", schema } };
  const answer = await client().chat.completions.create({ model: "seen", messages, response_format });
  assert.equal(typeof JSON.parse(answer.choices[0].message.content).name, "string");
  assert.deepEqual((await providerRequests("seen")).at(-1).response_format, response_format);
});

check("embeddings_as_base64_and_as_floats", async () => {
  const input = ["one", "two"];
  const packed = await client().embeddings.create({ model: "embedder", input });
  const plain = await client().embeddings.create({ model: "embedder", input, encoding_format: "float" });
  assert.equal(packed.data[0].embedding.length, 1536);
  assert.ok(Math.abs(packed.data[1].embedding[7] - plain.data[1].embedding[7]) < 1e-6);
});

check("a_wrong_key_is_an_authentication_error", async () => {
  const error = await refusal(OpenAI.AuthenticationError, "assistant", { apiKey: "gw_wrong_key" });
  assert.equal(error.code, "invalid_api_key");
  assert.match(error.requestID, /^req_/);
});

check("an_unknown_model_is_not_found", async () => {
  assert.equal((await refusal(OpenAI.NotFoundError, "no-such-model")).code, "model_not_found");
});

check("a_limit_that_waiting_cannot_help_is_asked_once", async () => {
  const options = { apiKey: METERWAY_SMALL_KEY, maxRetries: 5 };
  const [error, asked, reached] = await counted("seen", () =>
    refusal(OpenAI.RateLimitError, "seen", options, { max_tokens: 5000 }));
  assert.equal(error.headers.get("x-should-retry"), "false");
  assert.deepEqual([asked, reached], [1, 0]);
});

check("retries_are_not_multiplied", async () => {
  const [error, asked] = await counted("broken", () =>
    refusal(OpenAI.InternalServerError, "broken", { maxRetries: 5 }));
  assert.equal(error.headers.get("x-should-retry"), "false");
  assert.equal(asked, 1);
});

check("a_stream_that_breaks_throws", async () => {
  let said = "";
  await assert.rejects(async () => {
    for await (const chunk of await client().chat.completions.create({ model: "cut-short", messages, stream: true }))
      said += chunk.choices[0].delta.content ?? "";
  }, (error) => error instanceof OpenAI.APIError && error.code === "upstream_truncated");
  assert.ok(said.length > 0);
});

check("the_clients_timeout_ends_the_call_upstream", async () => {
  await refusal(OpenAI.APIConnectionTimeoutError, "slow-start", { timeout: 400, maxRetries: 0 });
  const bill = async () => (await simulator("bill")).filter((line) => line.model === "slow-start");
  assert.equal((await eventually(async () => (await bill()).at(-1))).outcome, "cut");
});

check("a_client_that_hangs_up_cancels_the_provider", async () => {
  const bill = async () => (await simulator("bill")).filter((line) => line.model === "slow-stream");
  const before = (await bill()).length;
  const stream = await client().chat.completions.create({ model: "slow-stream", messages, stream: true });
  let count = 0;
  for await (const _ of stream) if (++count === 5) break;
  stream.controller.abort();
  const line = await eventually(async () => (await bill())[before]);
  assert.equal(line.outcome, "cut");
});

const results = {};
for (const [name, run] of checks) {
  try {
    await run();
    results[name] = null;
  } catch (error) {
    results[name] = error.stack ?? String(error);
  }
}
console.log(JSON.stringify(results));
process.exit(Object.values(results).some(Boolean) ? 1 : 0);
