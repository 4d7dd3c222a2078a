// The whole path of a study, by keyboard alone: found in the worklist, looked at, one finding accepted, one changed, one
// rejected or added, undone and done again, signed, and seen as signed. Argument: {url, name, password, patient, study, looker}.
import assert from 'node:assert/strict';
import { banner, drawn, kept, open, serious, settings, signIn, text, toSign, until } from './browser.mjs';

const { page, close } = await open();
const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
const decisions = () => page.locator('.finding .decision').allInnerTexts();
/** Waits until the decision on a finding, by its place, is this one; from the end where that is less than none. */
const decided = (place, wanted) => until(async () => assert.equal((await decisions()).at(place), wanted));

await signIn(page);
await page.waitForSelector('.lines .line');
await press('/');
await page.keyboard.type(settings.patient);
await page.waitForFunction((name) => {
  const rows = [...document.querySelectorAll('.lines .line .c-id')];
  return rows.length === 1 && rows[0].textContent === name;
}, settings.patient);
await page.waitForURL(/text=/);
await until(async () => assert.equal(await text(page, '.lines .line .c-state'), 'unsigned draft'));
await press('Enter', 'Enter');
await page.waitForURL(`**/study/${settings.study}`);
await drawn(page);
assert.match(await text(page, '.banner'), /^UNSIGNED DRAFT/);
assert.match(await text(page, '.banner'), /not a medical device/i);
assert.match(await text(page, '.banner'), /demonstration/i);

assert.doesNotMatch(await page.locator('.findings').innerText(), /100 %|(^|\s)0 %/);
// Nothing is decided yet, so nothing can be signed.
const count = await page.locator('.finding').count();
assert.ok(count >= 2, `${count} findings`);
await press('s');
assert.equal(await page.locator('.sign-step').count(), 0);

await press('Home', 'a');
await decided(0, 'accepted');
await press('Control+z');
await until(async () => assert.deepEqual(await decisions(), Array(count).fill('to decide')));
await press('Control+Shift+z');
await decided(0, 'accepted');

// Looked at and left as it is, a finding is not decided, neither in the form nor in its words.
await page.waitForSelector('.finding:nth-child(2).chosen');
await press('c');
await page.waitForSelector('.finding-form');
await press('Enter');
await page.waitForSelector('.finding-form', { state: 'detached' });
await press('w');
await page.waitForSelector('.ask input');
await press('Enter');
await page.waitForSelector('.ask', { state: 'detached' });
assert.deepEqual((await decisions()).slice(0, 2), ['accepted', 'to decide']);
// In other words it is changed, and the model's confidence does not stand with them.
await press('w');
await page.waitForSelector('.ask input');
await press('Control+a');
await page.keyboard.type(settings.words);
await press('Enter');
await decided(1, 'changed');
await until(async () => assert.equal(await text(page, '.finding:nth-child(2) .conf'), 'by you, not signed'));
await press('Control+z');
await decided(1, 'to decide');

// The second is possible only, in the reader's words. Of what is chosen from a list one letter is typed: after a stall another would
// begin another word.
await page.waitForSelector('.finding:nth-child(2).chosen');
await press('c');
await page.waitForSelector('.finding-form');
await press('Tab');
await page.keyboard.type('u');
for (let tab = 0; tab < 8 && (await page.evaluate(() => document.activeElement?.getAttribute('name'))) !== 'words'; tab++) await press('Tab');
await page.keyboard.type(settings.words);
await press('Enter');
await page.waitForFunction((words) => document.querySelector('.report-text')?.textContent.includes(words), settings.words);
await decided(1, 'changed');

// What is left is rejected, with a reason.
for (let left = (await decisions()).filter((each) => each === 'to decide').length; left > 0; left--) {
  await page.waitForSelector('.finding.chosen');
  while ((await text(page, '.finding.chosen .decision')) !== 'to decide') await press('j');
  await press('x');
  await page.waitForSelector('.ask input');
  await page.keyboard.type('a skin fold');
  await press('Enter');
  await page.waitForSelector('.ask', { state: 'detached' });
}

// One is added by a box that arrows move.
await press('n', 'ArrowRight', 'ArrowDown', 'Shift+ArrowRight', 'Enter');
await page.waitForSelector('.finding-form');
await page.keyboard.type('f');
await press('Enter');
await page.waitForFunction(() => [...document.querySelectorAll('.finding .title')].at(-1)?.textContent.startsWith('Fracture'));
await decided(-1, 'added by you');
// The card says what the report will, also after a change.
const last = () => page.locator('.finding .sentence').last().innerText();
await page.waitForFunction(() => [...document.querySelectorAll('.finding')].at(-1)?.querySelector('.sentence')?.textContent === 'Fracture.');
await press('c');
await page.waitForSelector('.finding-form');
await press('Tab', 'Tab');
await page.keyboard.type('l');
await press('Enter');
await page.waitForFunction(() => [...document.querySelectorAll('.finding')].at(-1)?.querySelector('.sentence')?.textContent === 'Left fracture.');
await until(async () => assert.ok((await text(page, '.report-text')).includes(await last())));

// It is kept, and still there after the page was loaded again.
await kept(page);
const before = await decisions();
await page.reload();
await drawn(page);
await page.waitForFunction((wanted) => JSON.stringify([...document.querySelectorAll('.finding .decision')].map((each) => each.innerText)) === wanted, JSON.stringify(before));

// Words that deny what was found are shown with what they contradict, above the button, and are signed by who has seen that.
await press('e', 'Control+a');
await page.keyboard.type('Normal chest.');
await press('Escape');
await page.waitForFunction(() => [...document.querySelectorAll('.sign-bar .warning')].some((each) => each.textContent.includes('"Normal chest."')));
await toSign(page);
const step = await text(page, '.sign-step');
for (const words of [settings.words, 'Coded.', 'Left fracture.', 'Technique.', 'Comparison']) assert.ok(step.includes(words), `${words}: ${step}`);
assert.match(await text(page, '.sign-step .against'), /"Normal chest\." says that nothing is wrong, against the finding/);
assert.deepEqual(await serious(page), []);
await press('Enter');
// Time enough to be signed in.
await page.waitForTimeout(500);
assert.equal(await page.locator('.sign-step').count(), 1, 'nothing is signed in silence');
while ((await page.evaluate(() => document.activeElement?.getAttribute('name'))) !== 'seen') await press('Tab');
await press('Space', 'Enter');
await banner(page, 'SIGNED');
const stands = await text(page, '.banner');
assert.doesNotMatch(stands, /unsigned/i);
assert.match(stands, /version 2/);
assert.equal(stands.match(/\d\d:\d\d/g).length, 1, `when it was signed is told once: ${stands}`);
await until(async () => assert.match(await text(page, '.versions li.on'), /\d\d:\d\d UTC/));
// What was accepted is the radiologist's now: the model's estimate is told beside it, and none beside what a person changed or added.
await until(async () => {
  const sources = (await page.locator('.finding .conf').allInnerTexts()).map((each) => each.replace(/\d+/, 'N'));
  assert.equal(sources.filter((each) => each === 'by a radiologist').length, 2, `${sources}`);
  assert.ok(sources.every((each) => ['by a radiologist', 'model: N %', 'model: > N %'].includes(each)), `${sources}`);
});
assert.doesNotMatch(await page.locator('.findings').innerText(), /100 %|(^|\s)0 %/);
assert.equal(await page.locator('.watermark').count(), 0);

// The draft is what it was, and looks it.
await page.locator('.versions button', { hasText: 'unsigned draft' }).focus();
await press('Enter');
await banner(page, 'UNSIGNED DRAFT');
assert.match(await text(page, '.banner'), /not the newest/);

await press('u');
await page.waitForSelector('.lines .line');
await page.waitForFunction((id) => [...document.querySelectorAll('.lines .line')].some((row) => row.querySelector('.c-id')?.textContent === id && row.querySelector('.c-state')?.textContent === 'signed'), settings.patient);
// What was made of each finding is counted.
await page.goto(`${settings.url}/agreement`);
await page.waitForSelector('.agreement tbody tr');
const counted = await page.locator('.agreement tbody tr').evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll('td.n')].slice(0, 4).map((cell) => Number(cell.textContent))));
const sums = counted.reduce((all, row) => all.map((sum, at) => sum + row[at]), [0, 0, 0, 0]);
assert.deepEqual(sums, [1, 1, count - 2, 1], 'accepted, changed, rejected, added');
assert.ok((await page.locator('.week-plot circle').count()) > 0);
// The address says by what it is counted. What is exported is offered to those who may have it.
await page.goto(`${settings.url}/agreement?by=site`);
await page.waitForSelector('.agreement tbody tr');
assert.equal(await text(page, '.agreement .states button[aria-pressed=true]'), 'by site');
const offered = page.locator('a[href="/api/agreement/export"]');
assert.equal(await offered.count(), 1);
if (settings.looker) {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForSelector('.sign-in');
  await signIn(page, '/agreement', settings.looker);
  await page.waitForSelector('.agreement tbody tr');
  assert.equal(await offered.count(), 0);
}
await close();
