// Asking about the open study, by keyboard alone: a question, the image described, a box; answers stand apart with the images that
// were looked at, and only what the reader inserts or applies is in the report. Argument: {url, name, password, film, volume, shots}.
import assert from 'node:assert/strict';
import { ask, banner, describe, drawn, kept, open, seen, serious, settings, signIn, text, toSign, until } from './browser.mjs';

/** A model on a busy processor thinks long. */
const PATIENCE = { timeout: 240_000 };
const { page, close } = await open();
const press = async (...keys) => {
  for (const key of keys) await page.keyboard.press(key);
};
const box = page.locator('.report-text textarea');
const answers = (count, state = 'answered') => page.waitForFunction(([wanted, state]) => document.querySelectorAll(`.answer.s-${state}`).length === wanted, [count, state], PATIENCE);
const said = (place) => page.locator('.answer .said-by-model').nth(place).innerText();
const boxSays = (words) => page.waitForFunction((wanted) => document.querySelector('.report-text textarea')?.value === wanted, words);
const tag = (wanted) => page.waitForFunction((words) => document.querySelector('#impression .tag')?.textContent === words, wanted);
/** A button by its words, pressed once it can be. */
const push = async (within, words) => {
  const button = page.locator(`${within} button:enabled`, { hasText: words }).first();
  await button.focus();
  await press('Enter');
};
const look = async (name) => {
  for (const theme of ['dark', 'light']) {
    assert.deepEqual(await serious(page), [], `${name} ${theme}`);
    if (settings.shots) await page.screenshot({ path: `${settings.shots}/${name}-${theme}.png` });
    await page.evaluate(() => document.activeElement?.blur());
    await press('Shift+T');
  }
};

// The events of a tab that has a stream of its own can be held back.
await page.addInitScript(() => { Reflect.deleteProperty(window, 'SharedWorker'); });
await signIn(page, `/study/${settings.film}`);
await drawn(page);
const drafted = await until(async () => {
  const words = await box.inputValue();
  assert.ok(words !== '');
  return words;
});
assert.equal(await page.locator('.ask-panel').count(), 1);
assert.ok(!(await page.locator('.ask-body').isVisible()), 'it is closed until somebody asks');

// Letters that are commands elsewhere are text here.
await press('q');
await until(async () => assert.equal(await page.evaluate(() => document.activeElement?.placeholder), 'Ask in plain words'));
const question = 'Is a pleural effusion seen, and on which side?';
await page.keyboard.type(question);
assert.equal(await page.locator('.ask-form textarea').inputValue(), question);
assert.equal(await text(page, '.finding .decision'), 'to decide');
await page.waitForSelector('.ask-form button.primary:enabled');
await press('Enter');
// It waits, and its answer comes by itself; the box is free for the next one. Of an event the page may hear of it before it has the
// answer to what it sent, after which the box is free.
await page.waitForSelector('.answer');
await until(async () => assert.equal(await page.locator('.ask-form textarea').inputValue(), ''));
await answers(1);
const first = await text(page, '.answer');
for (const words of [question, 'DEMONSTRATION', 'not a medical device']) assert.ok(first.includes(words), first);
assert.ok((await said(0)).trim() !== '');
assert.match(first, /It looked at (PA|AP|LL|DX)/);
// The report is what it was.
assert.equal(await box.inputValue(), drafted);
assert.equal(await text(page, '#impression .tag'), 'made from the findings');
assert.equal(await page.locator('.report-text').evaluate((report, words) => report.textContent.includes(words), await said(0)), false);

// The image in the chosen pane, described.
await press('Escape');
await describe(page);
await answers(2);
assert.match(await text(page, '.answer'), /^Describe the image about /);
await look('ask');

// A box that arrows move is asked about, and is no finding.
const findings = await page.locator('.finding').count();
await press('n', 'ArrowRight', 'Shift+ArrowDown', 'q');
await page.keyboard.type('What is in the box?');
await until(async () => assert.equal(await page.locator('.overlay .box.asked').count(), 1));
await page.waitForSelector('.ask-form button.primary:enabled');
await press('Enter');
await answers(3);
assert.match(await text(page, '.answer .about'), /, the box$/);
// The model takes one image: that is the box.
assert.match(await text(page, '.answer'), /It looked at PA, the box/);
assert.equal(await page.locator('.finding').count(), findings);
await press('Escape');
// The same from the panel, and left again.
await push('.ask-form', 'Box on');
await push('.ask-form', 'Box');
await page.waitForSelector('.overlay .drawing');
await press('Escape');
await page.waitForSelector('.overlay .drawing', { state: 'detached' });
assert.equal(await page.locator('.finding').count(), findings);

// Only what the reader inserts is in the impression: as the reader's words, kept, and undone by a key.
const inserted = (await said(2)).split('\n').map((line) => line.trim()).filter((line) => line !== '');
await page.locator('.answer').nth(2).locator('button:enabled', { hasText: 'Insert into impression' }).focus();
await press('Enter');
await boxSays([...drafted.split('\n'), ...inserted].join('\n'));
await tag('your words, with a model\'s');
assert.match(await text(page, '.report-text .inserted'), /^Sentence \d+ of the impression has words of an answer by .+, inserted by Doe, Jane, /);
await kept(page);
await until(async () => assert.match(await page.locator('.answer').nth(2).innerText(), /inserted, and the report says so/));
await press('Control+z');
await boxSays(drafted);
await tag('made from the findings');
await until(async () => assert.doesNotMatch(await page.locator('.answer').nth(2).innerText(), /inserted, and the report says so/));
await page.waitForSelector('.report-text .inserted', { state: 'detached' });
await press('Control+Shift+z');

// Questions and answers are there after the page was loaded again; what is forgotten is not.
await kept(page);
await page.reload();
await drawn(page);
await press('Shift+Q');
await answers(3);
const forget = async (words) => {
  const gone = page.waitForResponse((response) => response.request().method() === 'DELETE' && response.url().includes('/questions/'));
  await push('.answer', words);
  assert.ok((await gone).ok());
};
// What is forgotten in one tab is gone from the others of this browser.
const other = await page.context().newPage();
await other.goto(page.url());
await drawn(other);
await other.keyboard.press('Shift+Q');
await other.waitForFunction(() => document.querySelectorAll('.answer').length === 3);
await forget('Forget');
await answers(2);
await other.waitForFunction(() => document.querySelectorAll('.answer').length === 2);
await other.close();
// A question that was begun is there after the page was loaded again, and is asked by nobody else.
await press('q');
await page.keyboard.type('Half a quest');
await until(async () => assert.ok((await page.locator('.panel').boundingBox()).width >= 460, 'answers have room on a small screen'));
if (settings.shots) await page.screenshot({ path: `${settings.shots}/panel-1280.png` });
await page.reload();
await drawn(page);
await until(async () => assert.match(await text(page, '.ask-panel h2'), /a question is not sent yet/));
await press('q');
assert.equal(await page.locator('.ask-form textarea').inputValue(), 'Half a quest');
await press('Control+a', 'Backspace');
await page.waitForFunction(() => Object.keys(sessionStorage).every((key) => !key.includes('half-typed')));
await press('Escape');
// What was just asked can be taken back, whether it is answered by then or not.
await ask(page, 'How large is the heart?');
await page.waitForFunction(() => document.querySelectorAll('.answer').length === 3);
await forget(/^(Cancel|Forget)$/);
await answers(2);
await page.reload();
await drawn(page);
await press('Shift+Q');
await answers(2);
assert.equal(await page.locator('.answer').count(), 2);
await press('Shift+Q');

// A shorter impression: a difference, not applied by itself, not applied to another text, and undone.
// Longer than what this model says, which was not made to shorten.
const long = 'There is evidence of a large pleural effusion on the left side. The heart is not enlarged. There is no evidence of a pneumothorax. '.repeat(10).trim();
await press('e', 'Control+a');
await page.keyboard.type(long);
await press('Escape');
await push('.impression-help', 'Shorten the impression');
await page.waitForSelector('.k-shorten .unverified', PATIENCE);
assert.equal(await box.inputValue(), long);
const shorter = () => page.locator('.k-shorten .difference').evaluate((difference) => [...difference.querySelectorAll('span')].filter((part) => part.querySelector('del') === null).map((part) => part.textContent).join('').trim());
const wanted = await shorter();
assert.ok(wanted !== '' && wanted !== long, wanted);
const marked = await page.locator('.k-shorten del').first().evaluate((each) => getComputedStyle(each).textDecorationLine);
assert.equal(marked, 'line-through', 'what goes is marked not by colour alone');
await look('shorten');
await press('e', 'End');
await page.keyboard.type(' Seen twice.');
await page.waitForSelector('.k-shorten .stale');
assert.equal(await page.locator('.k-shorten button', { hasText: 'Apply' }).count(), 0);
for (let step = 0; step < ' Seen twice.'.length; step++) await press('Backspace');
await page.waitForSelector('.k-shorten .stale', { state: 'detached' });
await press('Escape');
await push('.k-shorten', 'Apply');
await boxSays(wanted);
await page.waitForSelector('.k-shorten', { state: 'detached' });
await press('Control+z');
await boxSays(long);
await press('Control+Shift+z');
await boxSays(wanted);
await kept(page);

// An answer that is no shorter is no change: that is said.
await press('e', 'Control+a');
await page.keyboard.type('A.');
await press('Escape');
await push('.impression-help', 'Shorten the impression');
await page.waitForSelector('.k-shorten .no-shorter', PATIENCE);
assert.match(await text(page, '.k-shorten .no-shorter'), /no shorter than the impression, and so it is not offered as a change/);
assert.equal(await page.locator('.k-shorten button', { hasText: 'Apply' }).count() + await page.locator('.k-shorten .difference').count(), 0);
if (settings.shots) await page.screenshot({ path: `${settings.shots}/no-shorter.png` });
await push('.k-shorten', 'Discard');
await press('e', 'Control+a');
await page.keyboard.type(wanted);
await press('Escape');
await kept(page);

// For the patient: never a part of the report; on paper with what it is, and without the report.
await push('.impression-help', 'Explain for the patient');
await page.waitForSelector('.k-explain .unverified', PATIENCE);
const explained = await text(page, '.k-explain .said-by-model');
assert.ok(explained !== '');
assert.equal(await box.inputValue(), wanted);
assert.equal(await page.locator('.k-explain button', { hasText: /Apply|Insert/ }).count(), 0);
await look('explain');
await page.evaluate(() => { window.print = () => document.documentElement.setAttribute('data-asked-to-print', 'yes'); });
await push('.k-explain', 'Print');
await page.waitForSelector('[data-asked-to-print]');
await page.emulateMedia({ media: 'print' });
assert.ok(!(await page.locator('#page').isVisible()));
const sheet = await page.locator('.patient-sheet').innerText();
for (const words of [explained, 'no radiologist has signed', 'DEMONSTRATION', 'not a medical device']) assert.ok(sheet.includes(words), `${words} is not in ${sheet}`);
await page.emulateMedia({ media: 'screen' });
await page.evaluate(() => dispatchEvent(new Event('afterprint')));
await page.waitForSelector('.patient-sheet', { state: 'detached' });
// The report on paper has no word of any answer that was not inserted.
await page.emulateMedia({ media: 'print' });
for (const hidden of ['.ask-panel', '.impression-help']) assert.ok(!(await page.locator(hidden).isVisible()), hidden);
await page.emulateMedia({ media: 'screen' });
await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
await push('.k-explain', 'Copy');
await page.waitForFunction(() => document.querySelector('main > [role=status].hidden')?.textContent.startsWith('Copied'));
const copied = await page.evaluate(() => navigator.clipboard.readText());
assert.ok(copied.startsWith(explained) && copied.includes('not a medical device'), copied);
// What is cut off is not printed as if it were whole.
const cut = async (route) => {
  if (route.request().method() !== 'GET') return route.fallback();
  const response = await route.fetch();
  const body = await response.json();
  for (const question of body.questions) question.truncated = true;
  return route.fulfill({ response, json: body });
};
// What an event tells would be the whole answer.
const silent = (route) => route.abort();
await page.route('**/api/events', silent);
await page.route('**/questions', cut);
await page.reload();
await drawn(page);
await page.waitForSelector('.k-explain .said-by-model');
assert.match(await text(page, '.k-explain'), /the rest is missing, and so it cannot be printed or copied/);
assert.equal(await page.locator('.k-explain button', { hasText: /Print|Copy/ }).count(), 0);
await page.unroute('**/questions', cut);
await page.unroute('**/api/events', silent);
await page.reload();
await drawn(page);
await page.waitForSelector('.k-explain button:text("Print")');

// Signed with what was applied, and nothing else.
await page.evaluate(() => document.activeElement?.blur());
await press('Shift+A');
await toSign(page);
await seen(page);
await press('Enter');
await banner(page, 'SIGNED');
// What explains a report that was amended since is not given out, also where the page has not heard of it.
await page.route('**/api/events', silent);
await page.reload();
await drawn(page);
await page.waitForSelector('.k-explain button:text("Print")');
await page.evaluate(async (study) => {
  const { csrf } = await (await fetch('/api/session')).json();
  const { report } = await (await fetch(`/api/studies/${study}`)).json();
  const body = { version: 2, decisions: report.report.findings.map(() => ({ decision: 'accept' })), impression: ['Seen again: no effusion.'], reason: 'seen again', contradictions_seen: true, request_id: 'amended-elsewhere' };
  const answer = await fetch(`/api/studies/${study}/sign`, { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Prelim-Csrf': csrf }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
}, settings.film);
await page.evaluate(() => { window.print = () => document.documentElement.setAttribute('data-asked-to-print', 'yes'); });
await push('.k-explain', 'Print');
await page.waitForSelector('.k-explain .refused');
assert.match(await text(page, '.k-explain .refused'), /^Version 3 of the report was signed since/);
assert.equal(await page.locator('[data-asked-to-print]').count() + await page.locator('.patient-sheet').count(), 0);
if (settings.shots) await page.screenshot({ path: `${settings.shots}/explain-superseded.png` });
// A press takes the refusal away until it is known how the report stands.
await push('.k-explain', 'Copy');
await page.waitForSelector('.k-explain .refused');
assert.doesNotMatch(await page.locator('main > [role=status].hidden').textContent(), /^Copied/);
// Nor is it where the page shows the newer report: the words are others.
await page.unroute('**/api/events', silent);
await page.reload();
await drawn(page);
await page.waitForSelector('.k-explain .stale');
assert.equal(await page.locator('.k-explain button', { hasText: /Print|Copy/ }).count(), 0);
await push('.k-explain', 'Discard');
await page.waitForSelector('.k-explain', { state: 'detached' });
// On paper, in the dark theme too, all is dark on white.
await page.evaluate(() => document.documentElement.setAttribute('data-theme', 'dark'));
await page.emulateMedia({ media: 'print' });
const pale = await page.evaluate(() => {
  const parts = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([red, green, blue]) => (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
  const found = [];
  for (const each of document.querySelectorAll('.panel *, .paper-head *')) {
    if (!each.checkVisibility() || each.closest('svg') !== null) continue;
    const { color, backgroundColor } = getComputedStyle(each);
    const back = parts(backgroundColor);
    const hasText = [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== '');
    if (hasText && light(parts(color)) > 0.45) found.push(`${each.className}: text ${color}`);
    if (back[3] !== 0 && light(back) < 0.8) found.push(`${each.className}: ground ${backgroundColor}`);
  }
  return found;
});
assert.deepEqual(pale, []);
if (settings.shots) await page.screenshot({ path: `${settings.shots}/print-dark.png`, fullPage: true });
await page.emulateMedia({ media: 'screen' });
// Of what is signed questions are still answered; nothing is inserted before an amendment is begun.
await press('Shift+Q');
await page.waitForSelector('.answer button:text("Insert into impression")');
await until(async () => assert.ok(await page.locator('.answer button', { hasText: 'Insert into impression' }).first().isDisabled()));

// Of a CT an answer leads to the slice that was looked at.
await page.goto(`${settings.url}/study/${settings.volume}`);
await drawn(page);
await press('Home');
await describe(page);
await answers(1);
assert.match(await text(page, '.answer .looked-at'), /It looked at CT \d+, slice 1$/);
await press('End');
await page.waitForFunction(() => !document.querySelector('.bottom-left')?.textContent.startsWith('1 /'));
await page.locator('.answer .looked-at button').first().focus();
await press('Enter');
await page.waitForFunction(() => document.querySelector('.bottom-left')?.textContent.startsWith('1 /'));

// Longer than a line, and without a blank: of the reader in a finding's words, and of a model in an answer.
const unbroken = 'Pneumonoultramicroscopicsilicovolcanoconiosis'.repeat(6);
await page.locator('.finding-head').first().focus();
await page.keyboard.press('Enter');
await page.evaluate(() => document.activeElement?.blur());
await page.keyboard.press('w');
await page.waitForSelector('.ask input');
await page.keyboard.press('Control+a');
await page.keyboard.type(unbroken);
await page.keyboard.press('Enter');
await page.waitForSelector('.finding .sentence.own');
if (await page.locator('.said-by-model').count() === 0) await press('Shift+Q');
await page.waitForSelector('.said-by-model');
await page.evaluate((words) => document.querySelectorAll('.said-by-model').forEach((each) => { each.textContent = words; }), unbroken);
const past = await page.evaluate(() => {
  const edge = document.querySelector('.panel').getBoundingClientRect().right + 0.5;
  const within = [...document.querySelectorAll('.finding, .finding *, .answer, .answer *')].filter((each) => each.checkVisibility());
  return within.filter((each) => each.getBoundingClientRect().right > edge || (each.matches('p, blockquote, li') && each.scrollWidth > each.clientWidth + 1)).map((each) => `${each.tagName} ${each.className}`);
});
assert.deepEqual(past, []);
if (settings.shots) await page.screenshot({ path: `${settings.shots}/long-words.png` });
await close();
console.log(JSON.stringify({ impression: wanted }));
