// A study that is removed while somebody reads it: the page says so at once, and the list does. Argument: {url, name, password, study,
// shots}; a line on stdin lets it go on once the study is being removed.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { drawn, follows, open, serious, settings, signIn, text, until } from './browser.mjs';

const { page, close } = await open();
const following = await follows(page);
await signIn(page, `/study/${settings.study}`);
await drawn(page);
// What happens before the page hears of it, it is not told.
await following();
await page.waitForSelector('.sign-bar');
assert.equal(await page.locator('.removal').count(), 0);
console.log('remove it');
await once(process.stdin, 'data');
const isSaid = async () => {
  await page.waitForSelector('.removal');
  assert.match(await text(page, '.removal'), /^BEING REMOVED/);
  for (const gone of ['.sign-bar', '.report-text textarea']) await page.waitForSelector(gone, { state: 'detached' });
  // Nothing is asked of what is on its way out.
  await page.keyboard.press('q');
  await page.waitForSelector('.nobody');
  await until(async () => assert.match(await text(page, '.nobody'), /^This study is being removed/));
  assert.ok(await page.locator('.ask-form button.primary').isDisabled());
  await page.keyboard.press('Escape');
};
await isSaid();
assert.deepEqual(await serious(page), []);
if (settings.shots) await page.screenshot({ path: `${settings.shots}/removing.png` });
await page.reload();
await isSaid();
await page.keyboard.press('u');
await page.waitForSelector('.lines .line');
await until(async () => assert.equal(await text(page, '.lines .line .c-state'), 'being removed'));
if (settings.shots) await page.screenshot({ path: `${settings.shots}/removing-list.png` });
process.stdin.destroy();
await close();
