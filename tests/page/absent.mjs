// That nobody answers any more, and that somebody does again, is said in the panel while it is open. Argument: {url, name, password,
// study}.
import assert from 'node:assert/strict';
import { open, settings, signIn, text } from './browser.mjs';

const { page, close } = await open();
await signIn(page, `/study/${settings.study}`);
await page.waitForSelector('.ask-panel');
await page.keyboard.press('q');
await page.keyboard.type('Is anybody there?');
await page.waitForFunction(() => document.querySelector('.ask-form button.primary')?.disabled === false);
// The worker goes: the coordinator says so when it is asked next.
const gone = (route) => route.fulfill({ json: { answers: false, kinds: [], reason: 'no model here answers questions: no worker that is up offers it' } });
await page.route('**/answering', gone);
await page.waitForSelector('.nobody', { timeout: 30_000 });
assert.match(await text(page, '.nobody'), /^No model here answers questions/);
assert.ok(await page.locator('.ask-form button.primary').isDisabled());
await page.unroute('**/answering', gone);
await page.waitForSelector('.nobody', { state: 'detached', timeout: 30_000 });
assert.equal(await page.locator('.ask-form textarea').inputValue(), 'Is anybody there?');
assert.ok(!(await page.locator('.ask-form button.primary').isDisabled()));
await close();
