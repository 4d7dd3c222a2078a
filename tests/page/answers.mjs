// The model that comes with the product answers on the page, and what it was not made for is not offered. Argument: {url, name, password, film, finding, side, shots}.
import assert from 'node:assert/strict';
import { ask, banner, describe, drawn, open, seen, serious, settings, signIn, text, toSign, until } from './browser.mjs';

/** A model on a busy processor thinks long. */
const PATIENCE = { timeout: 240_000 };
const { page, close } = await open();
const answers = (count) => page.waitForFunction((wanted) => document.querySelectorAll('.answer.s-answered').length === wanted, count, PATIENCE);

await signIn(page, `/study/${settings.film}`);
await drawn(page);
await ask(page, `Is there a ${settings.finding}?`);
await answers(1);
assert.match(await text(page, '.answer .said-by-model'), new RegExp(`^Yes: .*${settings.side} ${settings.finding}`));
for (const words of ['DEMONSTRATION', 'not a medical device']) assert.ok((await text(page, '.answer')).includes(words), words);
await ask(page, 'How old is the patient?');
await answers(2);
assert.equal(await text(page, '.answer .said-by-model'), 'I cannot tell from this image.');
await page.keyboard.press('Escape');
await describe(page);
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
// Words that are pasted by hand are told as the model's, also where they are few; what is typed is the person's.
const short = await page.locator('.answer .said-by-model').last().innerText();
await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
await page.evaluate((words) => navigator.clipboard.writeText(words), short);
await page.keyboard.press('e');
await page.keyboard.press('Control+End');
await page.keyboard.press('Enter');
await page.keyboard.type('Compared with an outside film.');
await page.keyboard.press('Enter');
const noted = page.waitForResponse((response) => response.request().method() === 'PUT' && response.url().endsWith('/pasted'));
await page.keyboard.press('Control+v');
assert.equal((await noted).status(), 204);
await until(async () => assert.equal(await page.locator('.report-text .inserted').count(), 1));
assert.match(await text(page, '.report-text .inserted'), /has words of an answer by .+, typed or pasted by Doe, Jane, /);
await page.keyboard.press('Escape');
// Signed, the report says of all its words whose they are.
await page.keyboard.press('Shift+A');
await toSign(page);
await seen(page);
await page.keyboard.press('Enter');
await banner(page, 'SIGNED');
const origins = await page.locator('.origins li').allTextContents();
for (const wanted of [/^As drafted: findings 1/, /^Typed or pasted by Doe, Jane: impression \d+$/, /^With words of a model's answer, taken by Doe, Jane: impression \d+$/]) assert.ok(origins.some((line) => wanted.test(line)), `${wanted}: ${origins.join('; ')}`);
await close();
