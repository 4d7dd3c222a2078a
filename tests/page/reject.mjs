// A draft is edited, its edits are given up, it is rejected, and reviewed after all. Argument: {url, name, password, study, sentences},
// where `sentences` are those of the draft.
import assert from 'node:assert/strict';
import { banner, drawn, kept, open, settings, signIn, text, toSign, until } from './browser.mjs';

const { page, close } = await open();
const path = `/study/${settings.study}`;
const box = page.locator('.report-text textarea');
const decided = (wanted) => page.waitForFunction((word) => document.querySelector('.finding .decision')?.textContent === word, wanted);
const copy = () => page.evaluate(async (study) => (await fetch(`/api/studies/${study}/working-copy`)).json(), settings.study);
await signIn(page, path);
await drawn(page);

// While typing goes on it is kept, without a pause: sent within so many letters, however long the answer takes then.
await page.keyboard.press('e');
await page.keyboard.press('Control+a');
const saves = [];
page.on('request', (request) => {
  if (request.method() === 'PUT' && request.url().endsWith('/working-copy')) saves.push(request);
});
let words = 0;
for (; saves.length === 0 && words < 60; words++) await page.keyboard.type('abc ', { delay: 50 });
assert.ok(saves.length > 0, `nothing was kept in ${words} words of typing`);
assert.equal((await saves[0].response())?.status(), 200);
await until(async () => assert.equal(await text(page, '#impression .tag'), 'your words'));

// Emptied, the impression is what the findings make of it, at once, and the copy that is kept says no other.
await page.keyboard.press('Control+a');
await page.keyboard.press('Delete');
await page.waitForFunction(() => document.querySelector('#impression .tag')?.textContent === 'made from the findings');
const made = settings.impression.join('\n');
await page.waitForFunction((words) => document.querySelector('.report-text textarea')?.placeholder === words, made);
await page.keyboard.press('Escape');
await until(async () => assert.equal(await box.inputValue(), made));
await kept(page);
assert.deepEqual((await copy()).impression, []);

// Edits are given up after one question, also once the page was left.
await page.keyboard.press('a');
await decided('accepted');
await kept(page);
await page.reload();
await decided('accepted');
await page.keyboard.press('Shift+D');
await page.waitForSelector('.sign-step');
await page.keyboard.press('Enter');
await decided('to decide');
assert.equal((await copy()).code, 'not_found');

// Rejected, it says so, by whom and why, and nothing of the patient; on paper, too.
await page.keyboard.press('Shift+R');
await page.waitForSelector('.ask input');
await page.keyboard.type('the films are of somebody else');
await page.keyboard.press('Enter');
await banner(page, 'REJECTED DRAFT');
const panel = await page.locator('.panel').innerText();
assert.match(panel, /This draft was rejected by Doe, Jane/);
assert.match(panel, /Why: the films are of somebody else/);
assert.doesNotMatch(panel, /no finding/i);
for (const sentence of settings.sentences) assert.ok(!panel.includes(sentence), sentence);
assert.equal(await page.locator('.report-text, .findings').count(), 0);
await page.emulateMedia({ media: 'print' });
assert.equal(await page.locator('.watermark').innerText(), 'REJECTED');
assert.ok(await page.locator('.watermark').isVisible());
await page.emulateMedia({ media: 'screen' });

// Reviewed after all: the draft as it was, which stays rejected until it is signed.
await page.keyboard.press('s');
await banner(page, 'UNSIGNED DRAFT');
assert.match(await text(page, '.banner'), /rejected by Doe, Jane/);
assert.ok((await text(page, '.report-text')).includes(settings.sentences[0]));
await page.keyboard.press('Shift+D');
await page.waitForSelector('.sign-step');
await page.keyboard.press('Enter');
await banner(page, 'REJECTED DRAFT');
await page.keyboard.press('s');
await banner(page, 'UNSIGNED DRAFT');
await page.keyboard.press('Shift+A');
await page.waitForSelector('.sign-bar button.primary:enabled');
await kept(page);
await page.reload();
await decided('accepted');
await toSign(page);
await page.keyboard.press('Enter');
await banner(page, 'SIGNED');
assert.match(await text(page, '.banner'), /version 3/);

// A signed report that one began to amend is as it was once that is given up.
await page.keyboard.press('s');
await banner(page, 'AMENDMENT, NOT SIGNED');
await page.keyboard.press('Shift+D');
await page.waitForSelector('.sign-step');
await page.keyboard.press('Enter');
await banner(page, 'SIGNED');
await close();
