// What was decided stays with what it was decided on: nothing undecided is signed, a decision goes to another version only where its
// finding is the same there, and every step can be undone. Argument: {url, name, password, other: {name, password}, patient, study,
// findings, after}: the names of the draft's findings in the report's order, and the ID of the patient whose study came after this one;
// a line on stdin lets it go on once another film of the study has come.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { drawn, open, settings, signIn, text } from './browser.mjs';

const { page, close } = await open();
const press = async (...keys) => {
  for (const key of keys) await page.keyboard.press(key);
};
const banner = (wanted) => page.waitForFunction((words) => document.querySelector('.banner strong')?.textContent === words, wanted);
const kept = () => page.waitForFunction(() => document.querySelector('.saved')?.textContent.startsWith('kept'));
const decisions = () => page.locator('.finding .decision').allInnerTexts();
const decided = (wanted) => page.waitForFunction((words) => JSON.stringify([...document.querySelectorAll('.finding .decision')].map((each) => each.textContent)) === words, JSON.stringify(wanted));
const signable = () => page.waitForFunction(() => document.querySelector('.sign-step button.primary')?.disabled === false);
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

// What is typed is undone word by word, and the decision before it, too.
await press('a', 'e', 'Control+a');
const words = 'One word after another is written here, and each of them is a step that can be taken back.';
await page.keyboard.type(words);
await press('Escape');
let steps = 0;
for (; steps < 60 && !(await page.locator('button[aria-label=Undo]').isDisabled()); steps++) await press('Control+z');
assert.ok(steps <= words.split(' ').length + 1, `${steps} steps`);
await decided(undecided);

// With the step to sign open, what is undone, by the button or by a key, closes it: there is something to decide again.
const toSign = async () => {
  await press('Shift+A');
  await page.waitForFunction(() => document.querySelector('.sign-bar button.primary')?.disabled === false);
  await press('s');
  await signable();
};
await toSign();
await page.keyboard.type('seen with the ward');
await page.locator('button[aria-label=Undo]').click();
await page.waitForSelector('.sign-step', { state: 'detached' });
await press('Enter');
await decided(undecided);
assert.match(await text(page, '.sign-bar'), /still to decide/);
await page.evaluate(() => document.activeElement?.blur());
await toSign();
assert.equal(await page.locator('.sign-step input[name=reason]').inputValue(), 'seen with the ward', 'the note is kept');
await page.evaluate(() => document.activeElement?.blur());
await press('d', 'Enter');
await page.waitForSelector('.sign-step', { state: 'detached' });
assert.ok((await decisions()).includes('to decide'));
// While it is not known what an edit makes of the report, what is shown is not signed.
await page.evaluate(() => document.activeElement?.blur());
await toSign();
const held = [];
await page.route('**/preview', (route) => { held.push(route); });
await page.locator('.report-text textarea').fill('Other words.');
await page.waitForFunction(() => document.querySelector('.sign-step button.primary')?.disabled);
assert.match(await text(page, '.sign-step .acts'), /being made of what you edited last/);
await page.locator('.sign-step input[name=reason]').focus();
const asked = page.waitForRequest('**/preview');
await press('Enter');
await asked;
await press('Enter');
assert.equal(await page.locator('.banner strong').textContent(), 'UNSIGNED DRAFT');
assert.deepEqual(signatures, []);
await Promise.all(held.map((route) => route.continue()));
await page.unroute('**/preview');
await signable();
await press('Escape');
await page.evaluate(() => document.activeElement?.blur());
await press('Control+z');

// The list goes on at the study that took the place of one that left it: another reader says that the first finding is possible only, and
// signs.
await page.waitForFunction(() => !document.querySelector('.report-text.is-old'));
const said = () => page.locator('.finding').evaluateAll((all) => all.map((each) => [`${each.querySelector('.title').textContent}: ${each.querySelector('.sentence')?.textContent}`, each.querySelector('.decision')?.textContent]));
const before = new Map(await said());
assert.ok([...before.values()].every((decision) => decision === 'accepted'), JSON.stringify([...before]));
await kept();
await page.goto(`${settings.url}/worklist?state=drafted&order=oldest`);
await page.locator('.lines .line', { hasText: settings.patient }).click();
const selected = (id) => page.waitForFunction((wanted) => document.querySelector('.line[aria-selected=true] .c-id')?.textContent === wanted, id);
await selected(settings.patient);
const second = await open();
await signIn(second.page, path, settings.other);
await drawn(second.page);
await second.page.keyboard.press('c');
await second.page.locator('.finding-form select').nth(1).selectOption('uncertain');
await second.page.keyboard.press('Enter');
await second.page.waitForSelector('.finding-form', { state: 'detached' });
await second.page.keyboard.press('Shift+A');
await second.page.waitForFunction(() => document.querySelector('.sign-bar button.primary')?.disabled === false);
await second.page.keyboard.press('s');
await second.page.waitForFunction(() => document.querySelector('.sign-step button.primary')?.disabled === false);
await second.page.keyboard.press('Enter');
await second.page.waitForFunction(() => document.querySelector('.banner strong')?.textContent === 'SIGNED');
await second.close();
await selected(settings.after);

// Decisions go to the other's version where the finding is the same in it, and nowhere else; what is another now is told.
await page.goto(settings.url + path);
await page.waitForSelector('.conflict');
const sides = await page.locator('.conflict .side').allInnerTexts();
assert.match(sides[0], /\(uncertain\)/);
assert.match(sides[1], /\((present|absent)\): accepted/);
await page.locator('.conflict button', { hasText: 'Put mine on it' }).click();
await banner('AMENDMENT, NOT SIGNED');
const after = await said();
for (const [finding, decision] of after) assert.equal(decision, before.has(finding) ? 'accepted' : 'to decide', `${finding}; before: ${[...before.keys()].join('; ')}`);
assert.equal(after.filter(([, decision]) => decision === 'to decide').length, 1, JSON.stringify(after));
assert.match(await text(page, '.newer'), /: accepted; was: (present|absent).*; is: uncertain/);
await page.locator('.newer button').click();
await page.evaluate(() => document.activeElement?.blur());
// What changes nothing is no amendment: words are added.
await press('Shift+A', 'e', 'Control+End', 'Enter');
await page.keyboard.type('Discussed with the ward.');
await press('Escape');
await page.waitForFunction(() => document.querySelector('.sign-bar button.primary')?.disabled === false);
await press('s');
await page.waitForSelector('.sign-step input[name=reason]');
await page.keyboard.type('seen together');
await signable();
await press('Enter');
await banner('AMENDED');
assert.equal(signatures.length, 1);
assert.ok(signatures[0].decisions.every(({ decision }) => decision === 'accept'));
// Whose word its urgency is the list says.
await page.goto(`${settings.url}/worklist`);
assert.match(await page.locator('.lines .line', { hasText: settings.patient }).locator('.c-urgency').getAttribute('title'), /: by the signed report$/);

// A draft that comes after a signature says which version stands, on paper, too.
console.log('send one more');
await once(process.stdin, 'data');
await page.goto(settings.url + path);
await banner('UNSIGNED DRAFT');
for (const place of ['.banner', '.paper-head']) assert.match(await text(page, place), /Version 3 was amended by Doe, Jane, \d{4}-\d\d-\d\d \d\d:\d\d, and stands until this draft is signed/);
process.stdin.destroy();
await close();
