// Somebody who may look and not review: reads a study, moves about, asks nothing that is refused.
// Argument: {url, name, password, study, looker: {name, password}, shots}.
import assert from 'node:assert/strict';
import { drawn, open, settings, signIn, text } from './browser.mjs';

const { page, close } = await open();
const refused = [];
const asked = [];
page.on('response', (response) => {
  const call = `${response.request().method()} ${new URL(response.url()).pathname}`;
  asked.push(call);
  if (response.status() >= 400 && !call.endsWith('/api/session')) refused.push(`${call} ${response.status()}`);
});
await signIn(page, `/study/${settings.study}`, settings.looker);
await drawn(page);
assert.equal(await text(page, '.banner strong'), 'UNSIGNED DRAFT');
assert.ok((await page.locator('.report-text .sentences').first().innerText()).trim() !== '');
assert.equal(await page.locator('.report-text textarea').count(), 0);
for (const key of ['j', 'a', 'x', 'e', 's', 'Shift+A', 'Shift+R', 'Control+z', 'n', 'Enter', 'Escape']) await page.keyboard.press(key);
// Nothing is asked that would be refused, also not after as long as a preview waits.
await page.waitForTimeout(1_000);
assert.equal(await page.locator('.sign-step').count(), 0);
assert.ok(asked.some((call) => call === `GET /api/studies/${settings.study}`), asked.join('\n'));
assert.deepEqual(refused, []);
assert.deepEqual(asked.filter((call) => call.startsWith('POST') && !call.endsWith('/api/session')), []);
// Why nothing can be signed is said.
assert.match(await text(page, '.sign-bar'), /reviewing and signing them takes the role “review”/);
if (settings.shots) await page.screenshot({ path: `${settings.shots}/looker.png` });
await close();
