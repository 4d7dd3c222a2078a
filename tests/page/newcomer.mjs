// What somebody does who knows nothing of the page: odd addresses, sizes with units, half a form, edits that meet another reader's
// signature. Argument: {url, name, password, other: {name, password}, study}, a draft with two findings at least, beside another study.
import assert from 'node:assert/strict';
import { banner, drawn, follows, kept, open, settings, signIn, text, toSign, until } from './browser.mjs';

const { page, close } = await open();
const path = `/study/${settings.study}`;
const press = async (...keys) => {
  for (const key of keys) await page.keyboard.press(key);
};
const decisions = (on = page) => on.locator('.finding').evaluateAll((all) => all.map((each) => [each.querySelector('.title').textContent, each.querySelector('.decision')?.textContent ?? '']));

// What no filter can be is none, and a search that finds nothing does not say that there is nothing.
await signIn(page, '/worklist?urgency=nonsense&age=abc&confidence=-1&order=evil&state=nope');
await page.waitForSelector('.lines .line');
assert.equal((await text(page, '.problem-line')).trim(), '');
// It does not stay in the address as if it were one.
await page.waitForURL((url) => url.search === '');
assert.equal(await page.locator('.states button[aria-pressed=true]').innerText().then((words) => words.split(/\s/)[0]), 'All');
await press('/');
await page.keyboard.type('nobody is called so');
await page.waitForFunction(() => document.querySelector('.empty')?.textContent.startsWith('No study passes these filters'));
await press('Escape', 'x');
await page.waitForSelector('.lines .line');

// The way back leads to the study that was looked at last, also where that was the next one of the list.
await press('Home', 'Enter');
await page.waitForURL('**/study/**');
await drawn(page);
const first = page.url();
await press('Shift+J');
await page.waitForURL((url) => url.href !== first && url.pathname.startsWith('/study/'));
await drawn(page);
const looked = await text(page, '.patient .whole');
await press('u');
await page.waitForSelector('.lines .line');
await until(async () => assert.equal(await text(page, '.line[aria-selected=true] .c-id'), looked));
// What is done is told to the server as use, also where nothing is asked for; and who opens a study by its address has a list, too.
await page.goto(first);
await drawn(page);
const use = page.waitForRequest((request) => request.method() === 'HEAD');
await press('ArrowDown');
await use;
await press('Shift+J');
await page.waitForURL((url) => url.href !== first && url.pathname.startsWith('/study/'));

// A size is taken with its unit; what is none is told, and not kept as no size.
await page.goto(settings.url + path);
await drawn(page);
const sized = async (typed) => {
  await press('c');
  await page.waitForSelector('.finding-form');
  await page.fill('.finding-form input[name=size]', typed);
  await press('Enter');
};
for (const [typed, wanted] of [['12 mm', '12 mm'], ['1,5 cm', '15 mm'], ['7.25', '7.3 mm']]) {
  await sized(typed);
  await page.waitForSelector('.finding-form', { state: 'detached' });
  await until(async () => {
    const title = (await text(page, '.finding.chosen .title')).replace('\u00a0', ' ');
    assert.ok(title.endsWith(wanted), `${typed}: ${title}`);
  });
}
for (const typed of ['abc', '-3', '99999', '3 in']) {
  await sized(typed);
  await until(async () => assert.match(await text(page, '.finding-form .problem'), /^A length in mm.* at most 500 mm/));
  await press('Escape');
  await page.waitForSelector('.finding-form', { state: 'detached' });
}
// Who leaves a form that is half filled in is asked.
await kept(page);
await press('c');
await page.fill('.finding-form input[name=words]', 'Half a sentence');
const asked = page.waitForEvent('dialog');
await page.reload();
assert.equal((await asked).type(), 'beforeunload');
await drawn(page);
await press('Shift+D');
await page.waitForSelector('.sign-step');
await press('Enter');
await page.waitForFunction(() => document.querySelector('.finding .decision')?.textContent === 'to decide');

// Of two findings of one kind and side each is pointed at as itself, and has the number that it has in the report.
for (const size of ['6', '14']) {
  await press('n', 'Enter');
  await page.waitForSelector('.finding-form');
  await press('Tab', 'Tab');
  await page.keyboard.type('left');
  await page.fill('.finding-form input[name=size]', size);
  await press('Enter');
  await page.waitForSelector('.finding-form', { state: 'detached' });
  await page.waitForFunction((mm) => [...document.querySelectorAll('.report-text .said')].some((each) => each.textContent.includes(` ${mm} mm`)), size);
}
const number = (mm) => page.locator('.finding', { hasText: `${mm}\u00a0mm` }).locator('.number');
await page.waitForFunction(() => [...document.querySelectorAll('.finding .number')].every((each) => /^\d+$/.test(each.textContent)));
for (const mm of ['14', '6']) {
  const sentence = page.locator('.report-text .said', { hasText: ` ${mm} mm` });
  await sentence.click();
  assert.ok((await text(page, '.finding.chosen .title')).endsWith(`${mm}\u00a0mm`), `${mm}: ${await text(page, '.finding.chosen .title')}`);
  assert.deepEqual(await page.locator('.report-text .said.on').allInnerTexts(), [await sentence.innerText()]);
  const place = await page.locator('.report-text .said').allInnerTexts().then((all) => all.findIndex((each) => each.includes(` ${mm} mm`)));
  assert.equal(Number(await number(mm).innerText()), place + 1);
}
// What is written from right to left stands so.
await press('e', 'Control+a');
await page.keyboard.insertText('לא נראה תפליט (PA). גודל 12 מ"מ.');
assert.equal(await page.locator('.report-text textarea').evaluate((each) => getComputedStyle(each).direction), 'rtl');
await press('Escape', 'Shift+D');
await page.waitForSelector('.sign-step');
await press('Enter');
await page.waitForFunction(() => document.querySelector('#impression .tag')?.textContent === 'made from the findings');

// What could not be kept when the study was left is kept once it can be, wherever the reader is by then.
await page.context().setOffline(true);
await press('e', 'Control+a');
await page.keyboard.type('Typed without a network.');
await press('Escape', 'u');
await page.waitForSelector('.worklist');
const saved = page.waitForResponse((response) => response.request().method() === 'PUT' && response.url().endsWith('/working-copy') && response.ok());
await page.context().setOffline(false);
await saved;
await page.goto(settings.url + path);
await drawn(page);
await page.waitForFunction(() => document.querySelector('.report-text textarea')?.value === 'Typed without a network.');
await press('Shift+D');
await page.waitForSelector('.sign-step');
await press('Enter');
await page.waitForFunction(() => document.querySelector('#impression .tag')?.textContent === 'made from the findings');

// Decisions that meet another reader's version are put on the findings that they are of, and not on those in their place.
const titles = (await decisions()).map(([title]) => title);
assert.ok(titles.length >= 2, titles.join());
await press('a');
await page.waitForFunction(() => document.querySelectorAll('.finding')[1]?.classList.contains('chosen'));
await press('x');
await page.waitForSelector('.ask input');
await page.keyboard.type('mine alone');
await press('Enter');
await kept(page);
await press('u');
await page.waitForSelector('.lines .line');
const second = await open();
await signIn(second.page, path, settings.other);
await drawn(second.page);
await second.page.keyboard.press('x');
await second.page.waitForSelector('.ask input');
await second.page.keyboard.type('a skin fold');
await second.page.keyboard.press('Enter');
await second.page.keyboard.press('Shift+A');
const sign = async (on, reason = '') => {
  await toSign(on);
  await on.keyboard.type(reason);
  await on.keyboard.press('Enter');
};
await sign(second.page);
await banner(second.page, 'SIGNED');
const following = await follows(page);
await page.goto(settings.url + path);
await page.waitForSelector('.conflict');
assert.match(await text(page, '.conflict h2'), /begun with an older version/);
const push = async (words) => {
  await page.locator('.conflict button', { hasText: words }).focus();
  await press('Enter');
};
await push('Put mine on it');
await banner(page, 'AMENDMENT, NOT SIGNED');
await until(async () => {
  const after = Object.fromEntries(await decisions());
  assert.ok(!(titles[0] in after), 'what the other rejected is there no more');
  assert.equal(after[titles[1]], 'rejected', JSON.stringify(after));
  for (const title of titles.slice(2)) assert.equal(after[title], 'to decide', JSON.stringify(after));
});
await until(async () => assert.match(await text(page, '.newer'), /accept/));
// Undone, the other's version is what it was; done again, mine is on it.
await page.evaluate(() => document.activeElement?.blur());
await press('Control+z');
await banner(page, 'SIGNED');
await press('Control+Shift+z');
await banner(page, 'AMENDMENT, NOT SIGNED');
await press('Shift+D');
await page.waitForSelector('.sign-step');
await press('Enter');
await banner(page, 'SIGNED');

// Who goes on with the other's version alone can have their own edits back.
const write = async (on, words) => {
  await on.keyboard.press('s');
  await on.waitForSelector('.report-text textarea');
  await on.keyboard.press('e');
  await on.keyboard.press('Control+a');
  await on.keyboard.type(words);
  await on.keyboard.press('Escape');
};
await write(page, 'Of the first.');
await kept(page);
// What happens before the page hears of it, it is not told.
await following();
await write(second.page, 'Of the second.');
await sign(second.page, 'seen again');
await banner(second.page, 'AMENDED');
await page.waitForSelector('.newer');
await sign(page, 'seen again, too');
await page.waitForSelector('.conflict');
await push('theirs alone');
await banner(page, 'AMENDED');
await until(async () => {
  const report = await text(page, '.report-text');
  assert.ok(report.includes('Of the second.'), report);
});
await page.evaluate(() => document.activeElement?.blur());
await press('Control+z');
await banner(page, 'AMENDMENT, NOT SIGNED');
await until(async () => assert.equal(await page.locator('.report-text textarea').inputValue(), 'Of the first.'));
await second.close();
await close();
