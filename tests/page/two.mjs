// Two readers of one study, and one reader twice: nobody's edits are lost. Argument: {url, name, password, other: {name, password},
// study}.
import assert from 'node:assert/strict';
import { banner, drawn, follows, kept, open, settings, signIn, text, toSign, until } from './browser.mjs';

const first = await open();
const path = `/study/${settings.study}`;
const following = await follows(first.page);
await signIn(first.page, path);
await drawn(first.page);
// What happens before the page hears of it, it is not told.
await following();
const second = await open();
await signIn(second.page, path, settings.other);
await drawn(second.page);

// Each is told of the other.
for (const { page } of [first, second]) await page.waitForSelector('.patient .reader');

// The first accepts all and writes an impression; the session ends meanwhile, and what was typed stays. It ends with the focus in the
// box: no key leads there any more once the page knows, which it may learn by itself.
const typed = 'Effusion, as before.';
await first.page.keyboard.press('Shift+A');
await kept(first.page);
await first.page.keyboard.press('e');
await first.page.keyboard.press('Control+a');
await first.page.context().clearCookies();
await first.page.keyboard.type(typed);
await first.page.waitForSelector('.expired .sign-in');
// The box that was typed in keeps the focus; nothing but what was typed is seen, on paper neither.
const here = () => first.page.evaluate(() => document.activeElement?.tagName);
assert.equal(await here(), 'TEXTAREA');
assert.match(await text(first.page, '.expired'), /Signed out: sign in to go on; what you typed is kept here/);
for (const media of ['screen', 'print']) {
  await first.page.emulateMedia({ media });
  const seen = (await first.page.locator('body').evaluate((body) => [...body.querySelectorAll('*')].filter((each) => each.children.length === 0 && each.checkVisibility({ visibilityProperty: true })).map((each) => each.textContent).join(' '))).trim();
  assert.ok(!seen.includes(settings.patient.name) && !seen.includes(settings.patient.id), seen);
  for (const covered of ['.pane .image', '.patient h1', '.finding .title', '.report-text .said', '.banner', '.watermark']) assert.ok(!(await first.page.locator(covered).first().isVisible()), `${covered} on ${media}`);
}
await first.page.emulateMedia({ media: 'screen' });
assert.ok(await first.page.locator('.report-text textarea').isVisible());
assert.doesNotMatch(await first.page.title(), new RegExp(settings.patient.id));
await first.page.keyboard.press('F2');
await until(async () => assert.equal(await here(), 'INPUT'));
assert.equal(await first.page.locator('.report-text textarea').inputValue(), typed);
await first.page.keyboard.type(settings.password);
await first.page.keyboard.press('Enter');
await first.page.waitForSelector('.expired', { state: 'detached' });
await kept(first.page);
assert.equal(await first.page.locator('.report-text textarea').inputValue(), typed);

// The second rejects the first finding, accepts the rest, and signs.
await second.page.keyboard.press('x');
await second.page.waitForSelector('.ask input');
await second.page.keyboard.type('a skin fold');
await second.page.keyboard.press('Enter');
await second.page.keyboard.press('Shift+A');
await toSign(second.page);
await second.page.keyboard.press('Enter');
await banner(second.page, 'SIGNED');

// The first is told at once, keeps all, and is told again where it signs nevertheless.
await first.page.waitForSelector('.newer');
await first.page.keyboard.press('Escape');
await toSign(first.page);
await first.page.keyboard.press('Enter');
await first.page.waitForSelector('.conflict');
// Until that is answered no letter decides or signs.
await first.page.evaluate(() => document.activeElement?.blur());
for (const key of ['d', 's']) await first.page.keyboard.press(key);
assert.equal(await first.page.locator('.sign-step').count(), 0);
assert.equal(await text(first.page, '.finding .decision'), 'accepted');
const sides = await text(first.page, '.conflict');
assert.ok(sides.includes(typed), sides);
assert.match(sides, /Version 2/);
await first.page.locator('.conflict button', { hasText: 'put mine on it' }).focus();
await first.page.keyboard.press('Enter');
// With edits that nobody has signed it does not look signed, on paper neither.
await banner(first.page, 'AMENDMENT, NOT SIGNED');
await until(async () => assert.equal(await first.page.locator('.watermark').textContent(), 'NOT SIGNED'));
await until(async () => assert.equal(await first.page.locator('.report-text textarea').inputValue(), typed));
// What the second had rejected is in no version any more: the first is told so in words.
await until(async () => assert.match(await text(first.page, '.newer'), /accept/));

// An amendment says why, and the signed version stays what it was.
await toSign(first.page);
await first.page.keyboard.press('Enter');
assert.equal(await text(first.page, '.banner strong'), 'AMENDMENT, NOT SIGNED');
await first.page.keyboard.type('seen again with the clinic');
await first.page.keyboard.press('Enter');
await banner(first.page, 'AMENDED');
assert.match(await text(first.page, '.banner'), /seen again with the clinic/);
assert.match(await text(first.page, '.versions'), /1 unsigned draft/);

// The same reader in another window: the later save does not overwrite the earlier one unseen.
await second.page.reload();
await drawn(second.page);
const third = await second.page.context().newPage();
await third.goto(settings.url + path);
await drawn(third);
const write = async (page, words) => {
  await page.bringToFront();
  // A signed report is looked at until one begins to amend it.
  await page.keyboard.press('s');
  await page.waitForSelector('.report-text textarea');
  await page.keyboard.press('e');
  await page.keyboard.press('Control+a');
  await page.keyboard.type(words);
  await page.keyboard.press('Escape');
};
await write(third, 'From the third window.');
await kept(third);
// Saved once all is written: in a pause of a machine that stalls it would be told of the other before that, and then no key leads to
// the box.
const held = [];
let isHeld = true;
await second.page.route('**/working-copy', (route) => (isHeld ? void held.push(route) : route.continue()));
await write(second.page, 'From the second window.');
isHeld = false;
await Promise.all(held.map((route) => route.continue()));
await second.page.waitForSelector('.conflict');
await second.page.unroute('**/working-copy');
await until(async () => {
  const both = await text(second.page, '.conflict');
  assert.ok(both.includes('From the third window.') && both.includes('From the second window.'), both);
});
await second.page.locator('.conflict button', { hasText: 'Keep this one' }).click();
await kept(second.page);
await second.page.reload();
await drawn(second.page);
await until(async () => assert.equal(await second.page.locator('.report-text textarea').inputValue(), 'From the second window.'));

await first.close();
await second.close();
