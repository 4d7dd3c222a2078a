// Where nobody answers questions the page says why, and goes on. Argument: {url, name, password, study}.
import assert from 'node:assert/strict';
import { open, serious, settings, signIn, text } from './browser.mjs';

const { page, close } = await open();
await signIn(page, `/study/${settings.study}`);
await page.waitForSelector('.ask-panel');
await page.keyboard.press('q');
await page.waitForSelector('.nobody');
assert.match(await text(page, '.nobody'), /^No model here answers questions/);
await page.keyboard.type('Is anybody there?');
await page.keyboard.press('Enter');
// Nothing is asked: it would be in the list by then.
await page.waitForTimeout(300);
assert.equal(await page.locator('.answer').count(), 0);
assert.equal(await page.locator('.ask-form textarea').inputValue(), 'Is anybody there?', 'what was typed stays');
assert.ok(await page.locator('.ask-form button.primary').isDisabled());
assert.deepEqual(await serious(page), []);
await close();
