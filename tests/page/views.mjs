// Every view in both themes: axe finds nothing serious, images have names, hostile words in headers stay words. Argument:
// {url, name, password, studies: [uid], hostile}. Screenshots go to the folder `shots`, where one is given.
import assert from 'node:assert/strict';
import { drawn, frames, open, serious, settings, signIn, toSign, until } from './browser.mjs';

const { page, close } = await open();
const keep = async (name) => settings.shots && page.screenshot({ path: `${settings.shots}/${name}.png` });
const found = [];
const look = async (name) => {
  await frames(page);
  await keep(name);
  found.push(...(await serious(page)).map((problem) => `${name}: ${problem}`));
};

await page.goto(`${settings.url}/worklist`);
await page.waitForSelector('.sign-in');
await look('sign-in-dark');
// The system's setting counts until somebody chooses.
await page.emulateMedia({ colorScheme: 'light' });
await page.waitForFunction(() => document.documentElement.dataset.theme === 'light');
await look('sign-in-light');
await page.emulateMedia({ colorScheme: 'dark' });
await signIn(page);
for (const theme of ['dark', 'light']) {
  await page.goto(`${settings.url}/worklist`);
  await page.waitForSelector('.lines .line');
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme);
  await look(`worklist-${theme}`);
  for (const [at, study] of settings.studies.entries()) {
    await page.goto(`${settings.url}/study/${study}`);
    await drawn(page);
    await look(`study-${at}-${theme}`);
    // axe says nothing of a canvas without a name.
    for (const name of await page.locator('.pane .image').evaluateAll((all) => all.map((each) => each.getAttribute('aria-label')))) assert.match(name ?? '', /^Image: .+/);
    if (at === 0) {
      await page.keyboard.press('c');
      await page.waitForSelector('.finding-form');
      await look(`change-${theme}`);
      await page.keyboard.press('Escape');
      await page.keyboard.press('?');
      await page.waitForSelector('.key-sheet');
      await look(`keys-${theme}`);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Shift+R');
      await page.waitForSelector('.sign-step .ask input');
      await look(`reject-${theme}`);
      await page.keyboard.press('Escape');
      // What is to be signed scrolls where it is long, by keys, too.
      await page.keyboard.press('Shift+A');
      await page.keyboard.press('e');
      await page.keyboard.press('Control+a');
      await page.keyboard.insertText(Array.from({ length: 40 }, (_, line) => `Line ${line + 1} of an impression that is long.`).join('\n'));
      await page.keyboard.press('Escape');
      await toSign(page);
      await page.waitForFunction(() => document.querySelector('.to-sign')?.textContent.includes('Line 40 of'));
      await look(`sign-${theme}`);
      const box = page.locator('.to-sign');
      await until(async () => assert.ok(await box.evaluate((each) => each.scrollHeight > each.clientHeight), 'it does not scroll'));
      await box.focus();
      await page.keyboard.press('PageDown');
      await page.waitForFunction(() => document.querySelector('.to-sign').scrollTop > 0);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Shift+D');
      await page.waitForSelector('.sign-step');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.querySelector('.finding .decision')?.textContent === 'to decide');
    }
  }
  await page.goto(`${settings.url}/agreement`);
  // Below what the view is about: its table, or that there is none.
  await page.waitForSelector('.agreement table, .agreement .muted ~ .muted');
  await look(`agreement-${theme}`);
  await page.keyboard.press('Shift+T');
}
assert.deepEqual(found, []);

// On paper a draft says on every page what it is.
await page.goto(`${settings.url}/study/${settings.studies[0]}`);
await drawn(page);
await page.emulateMedia({ media: 'print' });
assert.equal(await page.locator('.watermark').innerText(), 'UNSIGNED DRAFT');
assert.ok(await page.locator('.watermark').isVisible());
assert.ok(await page.locator('.banner').isVisible());
assert.ok(!(await page.locator('.viewer').isVisible()));
// The head of a table is what Chromium repeats on every page.
assert.equal(await page.locator('.paper-head').evaluate((head) => getComputedStyle(head).display), 'table-header-group');
assert.match(await page.locator('.paper-head').innerText(), /ID \S+ born \d{4}-\d\d-\d\d[^]*UNSIGNED DRAFT version 1[^]*not a medical device/);
// A text box is cut on paper where it is longer than a page: the impression is a text there.
assert.ok(!(await page.locator('.report-text textarea').isVisible()));
// Nor is what only acts on it.
assert.equal(await page.locator('.panel button.plain:visible:not(.versions button)').count(), 0);
assert.equal((await page.locator('.report-text .on-paper').innerText()).trim(), (await page.locator('.report-text textarea').inputValue()).trim());
await page.emulateMedia({ media: 'screen' });

if (settings.hostile) {
  await page.goto(`${settings.url}/worklist?text=${encodeURIComponent('script')}`);
  await page.waitForSelector('.lines .line');
  assert.ok((await page.locator('.lines').innerText()).includes('<script>'));
  await page.keyboard.press('Enter');
  await page.waitForURL('**/study/**');
  await page.waitForSelector('.patient h1');
  assert.ok((await page.locator('.patient h1').innerText()).includes('<script>'));
  assert.equal(await page.evaluate(() => window.planted), undefined);
  assert.equal(await page.locator('#page script, #page img').count(), 0);
}
await close();
