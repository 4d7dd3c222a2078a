// The model that comes with the product answers on the page, and what it was not made for is not offered. Argument: {url, name, password, film, finding, side, shots}.
import assert from 'node:assert/strict';
import { drawn, open, serious, settings, signIn, text } from './browser.mjs';

const PATIENCE = { timeout: 90_000 };
const { page, close } = await open();
const answers = (count) => page.waitForFunction((wanted) => document.querySelectorAll('.answer.s-answered').length === wanted, count, PATIENCE);
const ask = async (question) => {
  await page.keyboard.press('q');
  await page.keyboard.type(question);
  await page.keyboard.press('Enter');
};

await signIn(page, `/study/${settings.film}`);
await drawn(page);
await ask(`Is there a ${settings.finding}?`);
await answers(1);
assert.match(await text(page, '.answer .said-by-model'), new RegExp(`^Yes: .*${settings.side} ${settings.finding}`));
for (const words of ['DEMONSTRATION', 'not a medical device']) assert.ok((await text(page, '.answer')).includes(words), words);
await ask('How old is the patient?');
await answers(2);
assert.equal(await text(page, '.answer .said-by-model'), 'I cannot tell from this image.');
await page.keyboard.press('Escape');
await page.keyboard.press('v');
await answers(3);
assert.match(await text(page, '.answer .said-by-model'), /^Chest radiograph\. /);
// It was made for no texts.
assert.equal(await page.locator('.impression-help button').count(), 0);
for (const theme of ['dark', 'light']) {
  assert.deepEqual(await serious(page), [], theme);
  if (settings.shots) await page.screenshot({ path: `${settings.shots}/answers-${theme}.png` });
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press('Shift+T');
}
await close();
