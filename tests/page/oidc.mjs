// People of the site's identity provider: they sign in there, and once their session has ended they are sent the way that they came,
// in a tab of its own, while what they typed stays. Argument: {url, issuer, study}.
import assert from 'node:assert/strict';
import { drawn, kept, open, serious, settings, text, until } from './browser.mjs';

const { page, close } = await open({ also: [settings.issuer] });
const path = `/study/${settings.study}`;
await page.goto(settings.url + path);
await page.waitForSelector('.sign-in a');
assert.equal(await page.locator('input[type=password]').count(), 0);
await page.locator('.sign-in a').focus();
await page.keyboard.press('Enter');
await page.waitForURL('**/worklist');
await page.waitForSelector('.top');
assert.equal(await text(page, '.account'), 'Roe, Richard');
await page.goto(settings.url + path);
await drawn(page);

const typed = 'Seen by the site\'s own people.';
await page.keyboard.press('e');
await page.keyboard.press('Control+a');
await page.keyboard.type(typed);
await kept(page);
await page.context().clearCookies({ name: /^prelim_session/ });
const more = ' Nothing else.';
await page.keyboard.type(more);
await page.waitForSelector('.expired .sign-in');
// No password is asked for: there is none.
assert.equal(await page.locator('.expired input').count(), 0);
assert.deepEqual(await serious(page), []);
if (settings.shots) await page.screenshot({ path: `${settings.shots}/expired-oidc.png` });
await page.keyboard.press('F2');
await until(async () => assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('href')), '/api/oidc/begin'));
const opened = page.context().waitForEvent('page');
await page.keyboard.press('Enter');
const other = await opened;
await other.waitForURL('**/worklist');
await other.waitForSelector('.top');
await page.waitForSelector('.expired', { state: 'detached' });
assert.equal(await page.locator('.report-text textarea').inputValue(), typed + more);
await kept(page);
const copy = await page.evaluate(async (study) => (await fetch(`/api/studies/${study}/working-copy`)).json(), settings.study);
assert.deepEqual(copy.impression, [typed + more]);
await other.close();

// Whom the provider does not let in is told so.
await page.goto(`${settings.url}/worklist`);
await page.waitForSelector('.top');
await page.context().clearCookies({ name: /^prelim_session/ });
await page.goto(`${settings.url}/sign-in?failed=oidc`);
await until(async () => assert.match(await text(page, '.sign-in .problem'), /let nobody in/));
await close();
