// That nobody answers any more, and that somebody does again, is said in the panel while it is open. Argument: {url, name, password,
// study}.
import assert from 'node:assert/strict';
import { open, settings, signIn, text } from './browser.mjs';

const { page, close } = await open();
await signIn(page, `/study/${settings.study}`);
await page.waitForSelector('.ask-panel');
await page.keyboard.press('q');
await page.keyboard.type('Is anybody there?');
await page.waitForSelector('.ask-form button.primary:enabled');
// The worker goes: the coordinator says so when it is asked next.
const gone = (route) => route.fulfill({ json: { answers: false, kinds: [], reason: 'no model here answers questions: no worker that is up offers it' } });
await page.route('**/answering', gone);
await page.waitForSelector('.nobody');
assert.match(await text(page, '.nobody'), /^No model here answers questions/);
assert.ok(await page.locator('.ask-form button.primary').isDisabled());
await page.unroute('**/answering', gone);
await page.waitForSelector('.nobody', { state: 'detached' });
assert.equal(await page.locator('.ask-form textarea').inputValue(), 'Is anybody there?');
assert.ok(!(await page.locator('.ask-form button.primary').isDisabled()));
// What was not answered is asked once more by a press, with the same words.
const failed = { id: 'q-9', kind: 'question', text: 'Is there an effusion?', image: null, state: 'failed', asked_at_ms: Date.now(), answered_at_ms: Date.now(), answer: null, truncated: false, no_shorter: false, problem: 'three workers went away', images: [], model: null, adapter: null, prompt_version: null, seconds: null, demonstration: false, statement: null };
const lost = async (route) => {
  if (route.request().method() !== 'GET') return route.fallback();
  const response = await route.fetch();
  return route.fulfill({ response, json: { ...(await response.json()), questions: [failed] } });
};
await page.route('**/questions', lost);
await page.reload();
await page.waitForSelector('.ask-panel');
await page.keyboard.press('Shift+Q');
await page.waitForSelector('.answer.s-failed');
const asked = page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/questions'));
await page.locator('.answer.s-failed button:enabled', { hasText: 'Ask again' }).focus();
await page.keyboard.press('Enter');
assert.deepEqual((({ kind, text }) => ({ kind, text }))((await asked).postDataJSON()), { kind: failed.kind, text: failed.text });
await page.waitForSelector('.answer.s-failed', { state: 'detached' });
await close();
