// Earlier studies: one hangs beside by a key, its report and what changed since are told, and pointing at a change shows its finding.
// Argument: {url, name, password, later, earlier, date, sentences, impression, changes}, the sentences and the impression those of the
// earlier study's report, the changes those that the later one's report tells, as JSON has them.
import assert from 'node:assert/strict';
import { drawn, open, serious, settings, signIn, still, text, until } from './browser.mjs';

const { page, close } = await open();
await signIn(page, `/study/${settings.later}`);
await drawn(page);

// The report of the earlier study, and how it stands.
const earlier = page.locator('.priors > ul > li');
assert.equal(await earlier.count(), 1);
const told = await earlier.innerText();
for (const words of [settings.date, 'unsigned draft', 'The report compares with it, finding by finding.', ...settings.sentences, ...settings.impression]) assert.ok(told.includes(words), `${words} is not in ${told}`);

// What changed, each once, in the order of the report.
const WORDS = { new: 'New', larger: 'Larger', smaller: 'Smaller', no_longer_seen: 'No longer seen', seen_only_now: 'Seen only now', seen_only_then: 'Seen only then', unchanged: 'Unchanged' };
const changes = await page.locator('.priors .changes li').allInnerTexts();
assert.deepEqual(changes.map((line) => line.split(':')[0]), settings.changes.map(({ change }) => WORDS[change]));
assert.ok((await text(page, '.report-text')).includes('Comparison'));

// Pointing at one that is seen now shows its finding.
const seen = settings.changes.findIndex(({ finding }) => finding !== undefined);
assert.ok(seen >= 0, 'no finding of the later study is compared');
await page.locator('.priors .changes li').nth(seen).locator('button').focus();
await page.keyboard.press('Enter');
await page.waitForSelector(`#finding-f${settings.changes[seen].finding}.chosen`);

// Beside it by a key, said to be another study, and never taken for this one: boxes are on this study's images alone.
assert.equal(await page.locator('.pane.prior').count(), 0);
await page.keyboard.press('p');
await page.waitForSelector('.pane.prior[data-ready=true]');
assert.equal(await text(page, '.pane.prior .is-prior'), `PRIOR ${settings.date}`);
assert.match(await page.locator('.pane:not(.prior)').first().innerText(), /CURRENT/);
assert.equal(await page.locator('.pane.prior .box').count(), 0);
await until(async () => assert.ok((await page.locator('.pane:not(.prior) .box').count()) > 0));
for (const name of await page.locator('.pane.prior .image').evaluateAll((all) => all.map((each) => each.getAttribute('aria-label')))) assert.match(name, new RegExp(`^Image: earlier study ${settings.date}`));
for (const theme of ['dark', 'light']) {
  assert.deepEqual(await serious(page), [], theme);
  if (settings.shots) await page.screenshot({ path: `${settings.shots}/priors-${theme}.png` });
  await page.keyboard.press('Shift+T');
}

// The keys go to the pane that was chosen: the other one stays.
const widths = () => page.locator('.pane .bottom-left').allInnerTexts();
const before = await still(page, widths);
await page.keyboard.press('ArrowRight');
await page.waitForSelector('.pane.prior.active');
for (let step = 0; step < 3; step++) await page.keyboard.press('+');
await until(async () => assert.notEqual((await widths()).at(-1), before.at(-1)));
assert.equal((await still(page, widths))[0], before[0]);

await page.keyboard.press('p');
await page.waitForSelector('.pane.prior', { state: 'detached' });

// Of whom it is under another name, that is said before it hangs and where it hangs; by the key it hangs only where the report takes it
// for the patient's.
const another = (uid, change) => page.route(`**/api/studies/${uid}`, async (route) => {
  const answer = await route.fetch();
  await route.fulfill({ response: answer, json: change(await answer.json()) });
});
await another(settings.earlier, (study) => ({ ...study, row: { ...study.row, patient: { ...study.row.patient, name: 'Miller^Bob' } } }));
await another(settings.later, (study) => ({ ...study, priors: study.priors.map((prior) => ({ ...prior, patient_name: 'Miller^Bob', compared: false, taken: false })) }));
await page.reload();
await drawn(page);
assert.match(await earlier.innerText(), /^Under another name: Miller, Bob/);
await page.keyboard.press('p');
await page.waitForTimeout(500);
assert.equal(await page.locator('.pane.prior').count(), 0);
await page.getByRole('button', { name: 'Show beside' }).click();
await page.waitForSelector('.pane.prior[data-ready=true]');
assert.equal(await text(page, '.pane.prior .is-prior'), `PRIOR ${settings.date} of Miller, Bob`);
assert.match(await page.locator('.pane.prior .image').first().getAttribute('aria-label'), /of Miller, Bob/);
for (const uid of [settings.earlier, settings.later]) await page.unroute(`**/api/studies/${uid}`);
await page.keyboard.press('Escape');

// Of several, the one that the report is compared with hangs first, and not the newest.
await page.route(`**/api/studies/${settings.later}`, async (route) => {
  const answer = await route.fetch();
  const study = await answer.json();
  const newer = { ...study.priors[0], uid: '1.2.3', date: '20260201', compared: false, taken: true, changes: [], reasons: ['another is compared'] };
  await route.fulfill({ response: answer, json: { ...study, priors: [newer, ...study.priors] } });
});
await page.reload();
await drawn(page);
assert.match(await earlier.nth(0).innerText(), /The report names it, and does not compare with it finding by finding: another is compared\./);
assert.equal(await earlier.nth(0).locator('kbd').count(), 0);
await page.keyboard.press('p');
await page.waitForSelector('.pane.prior[data-ready=true]');
assert.equal(await text(page, '.pane.prior .is-prior'), `PRIOR ${settings.date}`);
await page.unroute(`**/api/studies/${settings.later}`);

// From the earlier study this one is a later one, with which nothing is compared.
await page.goto(`${settings.url}/study/${settings.earlier}`);
await drawn(page);
assert.equal(await text(page, '.priors h2'), 'Later studies');
assert.match(await text(page, '.priors > ul > li'), /it was made later/);
assert.equal(await page.locator('.priors .changes').count(), 0);
await close();
