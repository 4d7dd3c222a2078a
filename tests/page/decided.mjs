// What was decided stays with what it was decided on: nothing undecided is signed, a decision goes to another version only where its
// finding is the same there, and every step can be undone. Argument: {url, name, password, other: {name, password}, patient, study,
// findings, after}: the names of the draft's findings in the report's order, and the ID of the patient whose study came after this one;
// a line on stdin lets it go on once another film of the study has come.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { banner, drawn, frames, kept, open, settings, signIn, text, toSign, until } from './browser.mjs';

const { page, close } = await open();
const press = async (...keys) => {
  for (const key of keys) await page.keyboard.press(key);
};
const decisions = () => page.locator('.finding .decision').allInnerTexts();
const decided = (wanted) => page.waitForFunction((words) => JSON.stringify([...document.querySelectorAll('.finding .decision')].map((each) => each.textContent)) === words, JSON.stringify(wanted));
const signable = () => page.waitForSelector('.sign-step button.primary:enabled');
/** A key as it comes with Caps Lock on, which turns capital and small letters round. */
const capsLocked = (key, shiftKey) => page.evaluate((init) => document.body.dispatchEvent(new KeyboardEvent('keydown', { ...init, code: 'KeyA', bubbles: true, cancelable: true })), { key, shiftKey });
const signatures = [];
page.on('request', (request) => {
  if (request.method() === 'POST' && request.url().endsWith('/sign')) signatures.push(request.postDataJSON());
});

const path = `/study/${settings.study}`;
await signIn(page, path);
await drawn(page);
const count = settings.findings.length;
const undecided = Array(count).fill('to decide');
// They are numbered as in every form of the report.
const titles = await page.locator('.finding').evaluateAll((all) => all.map((each) => `${each.querySelector('.number').textContent} ${each.querySelector('.title').textContent}`));
for (const [at, name] of settings.findings.entries()) assert.ok(titles[at].toLowerCase().startsWith(`${at + 1} ${name}`) || titles[at].toLowerCase().startsWith(`${at + 1} no ${name}`), `${titles} are not ${settings.findings}`);

// Caps Lock makes no other command of a letter.
await capsLocked('A', false);
await decided(['accepted', ...undecided.slice(1)]);
await press('Control+z');
await capsLocked('a', true);
await decided(undecided.map(() => 'accepted'));
await press('Control+z');
await decided(undecided);

// What is typed is undone word by word, and the decision before it, too. A machine that stalls makes a pause in what is typed, after
// which another step begins: the page's clock stands meanwhile.
await press('a', 'e', 'Control+a');
const words = 'One word after another is written here, and each of them is a step that can be taken back.';
await page.evaluate(() => {
  const [clock, now] = [Date.now, Date.now()];
  window.letGo = () => { Date.now = clock; };
  Date.now = () => now;
});
await page.keyboard.type(words);
await page.evaluate(() => window.letGo());
await press('Escape');
let steps = 0;
for (; steps < 60 && !(await page.locator('button[aria-label=Undo]').isDisabled()); steps++) await press('Control+z');
assert.ok(steps <= words.split(' ').length + 1, `${steps} steps`);
await decided(undecided);

// With the step to sign open, what is undone, by the button or by a key, closes it: there is something to decide again.
const toSignAll = async () => {
  await press('Shift+A');
  await toSign(page);
};
await toSignAll();
await page.keyboard.type('seen with the ward');
await page.locator('button[aria-label=Undo]').click();
await page.waitForSelector('.sign-step', { state: 'detached' });
await press('Enter');
await decided(undecided);
await until(async () => assert.match(await text(page, '.sign-bar'), /still to decide/));
await page.evaluate(() => document.activeElement?.blur());
await toSignAll();
assert.equal(await page.locator('.sign-step input[name=reason]').inputValue(), 'seen with the ward', 'the note is kept');
await page.evaluate(() => document.activeElement?.blur());
await press('d', 'Enter');
await page.waitForSelector('.sign-step', { state: 'detached' });
await until(async () => assert.ok((await decisions()).includes('to decide')));
// While it is not known what an edit makes of the report, what is shown is not signed.
await page.evaluate(() => document.activeElement?.blur());
await toSignAll();
const held = [];
let isHeld = true;
await page.route('**/preview', (route) => (isHeld ? void held.push(route) : route.continue()));
const asked = page.waitForRequest('**/preview');
await page.locator('.report-text textarea').fill('Other words.');
await page.waitForSelector('.sign-step button.primary:disabled');
assert.match(await text(page, '.sign-step .acts'), /being made of what you edited last/);
await page.locator('.sign-step input[name=reason]').focus();
await press('Enter');
await asked;
await press('Enter');
await frames(page);
assert.equal(await page.locator('.banner strong').textContent(), 'UNSIGNED DRAFT');
assert.deepEqual(signatures, []);
isHeld = false;
await Promise.all(held.map((route) => route.continue()));
await signable();
await page.unroute('**/preview');
await press('Escape');
await page.evaluate(() => document.activeElement?.blur());
const made = page.waitForResponse('**/preview');
await press('Control+z');
await made;

// The list goes on at the study that took the place of one that left it: another reader says that the first finding is possible only, and
// signs.
await page.waitForFunction(() => !document.querySelector('.report-text.is-old'));
const said = () => page.locator('.finding').evaluateAll((all) => all.map((each) => [`${each.querySelector('.title').textContent}: ${each.querySelector('.sentence')?.textContent}`, each.querySelector('.decision')?.textContent]));
const before = new Map(await said());
assert.ok([...before.values()].every((decision) => decision === 'accepted'), JSON.stringify([...before]));
await kept(page);
await page.goto(`${settings.url}/worklist?state=drafted&order=oldest`);
await page.locator('.lines .line', { hasText: settings.patient }).click();
const selected = (id) => page.waitForFunction((wanted) => document.querySelector('.line[aria-selected=true] .c-id')?.textContent === wanted, id);
await selected(settings.patient);
// What happens before the page hears of it, it is not told.
await page.waitForSelector('.foot .live');
const second = await open();
await signIn(second.page, path, settings.other);
await drawn(second.page);
await second.page.keyboard.press('c');
await second.page.locator('.finding-form select').nth(1).selectOption('uncertain');
await second.page.keyboard.press('Enter');
await second.page.waitForSelector('.finding-form', { state: 'detached' });
await second.page.keyboard.press('Shift+A');
await toSign(second.page);
await second.page.keyboard.press('Enter');
await banner(second.page, 'SIGNED');
await second.close();
await selected(settings.after);

// Decisions go to the other's version where the finding is the same in it, and nowhere else; what is another now is told.
await page.goto(settings.url + path);
await page.waitForSelector('.conflict');
// What the findings of the older version are called is looked up.
await until(async () => {
  const sides = await page.locator('.conflict .side').allInnerTexts();
  assert.match(sides[0], /\(uncertain\)/);
  assert.match(sides[1], /\((present|absent)\): accepted/);
});
await page.locator('.conflict button', { hasText: 'Put mine on it' }).click();
await banner(page, 'AMENDMENT, NOT SIGNED');
await until(async () => {
  const after = await said();
  for (const [finding, decision] of after) assert.equal(decision, before.has(finding) ? 'accepted' : 'to decide', `${finding}; before: ${[...before.keys()].join('; ')}`);
  assert.equal(after.filter(([, decision]) => decision === 'to decide').length, 1, JSON.stringify(after));
});
await until(async () => assert.match(await text(page, '.newer'), /: accepted; was: (present|absent).*; is: uncertain/));
await page.locator('.newer button').click();
await page.evaluate(() => document.activeElement?.blur());
// What changes nothing is no amendment: words are added.
await press('Shift+A', 'e', 'Control+End', 'Enter');
await page.keyboard.type('Discussed with the ward.');
await press('Escape');
await toSign(page);
await page.keyboard.type('seen together');
await press('Enter');
await banner(page, 'AMENDED');
assert.equal(signatures.length, 1);
assert.ok(signatures[0].decisions.every(({ decision }) => decision === 'accept'));
// Whose word its urgency is the list says.
await page.goto(`${settings.url}/worklist`);
await until(async () => assert.match(await page.locator('.lines .line', { hasText: settings.patient }).locator('.c-urgency').getAttribute('title'), /: by the signed report$/));

// A draft that comes after a signature says which version stands, on paper, too.
console.log('send one more');
await once(process.stdin, 'data');
await page.goto(settings.url + path);
await banner(page, 'UNSIGNED DRAFT');
for (const place of ['.banner', '.paper-head']) assert.match(await text(page, place), /Version 3 was amended by Doe, Jane, \d{4}-\d\d-\d\d \d\d:\d\d UTC, and stands until this draft is signed/);
process.stdin.destroy();
await close();
