// The web phone registers, calls a plain SIP phone, hangs up, is called by it; the console shows both calls live and
// then in its history. Usage: node call.mjs BASE ACCOUNT PASSWORD PEER ADMIN-LINK
import { PATIENCE, dial, freshPage, id, launch, phase, signIn, signInByLink, sleep, state, tell } from './browser.mjs';

const [base, account, password, peer, link] = process.argv.slice(2);
/** How long each side talks. */
const TALK_MS = 7000;

const browser = await launch(process.env.WHIMBREL_MICROPHONE);
try {
  const console_ = await freshPage(browser);
  await signInByLink(console_, base, link);
  const page = await freshPage(browser);
  await signIn(page, base, account, password);
  tell('registered');

  await dial(page, peer);
  await talk(page, console_, account, peer);
  const called = await state(page);
  await page.bringToFront();
  await page.click(id('hang-up'));
  await phase(page, 'ended');
  await gone(console_);
  await page.click(id('dismiss'));
  tell('called', { stats: called.stats ?? called.lastStats, far: called.call.levels.far });

  await phase(page, 'incoming');
  await page.click(id('answer'));
  await talk(page, console_, peer, account);
  const wasCalled = await state(page);
  await page.bringToFront();
  await page.click(id('hang-up'));
  await phase(page, 'ended');
  await gone(console_);
  tell('was-called', { stats: wasCalled.stats ?? wasCalled.lastStats, far: wasCalled.call.levels.far });

  await console_.bringToFront();
  await console_.click(id('nav-history'));
  await console_.waitForFunction(
    () => document.querySelectorAll('[data-testid=record][data-answered=true][data-cause]').length === 2,
    PATIENCE,
  );
  const history = await console_.$$eval(id('record'), (rows) => rows.map((row) => row.dataset.cause));
  await console_.click(id('record-details'));
  await console_.waitForSelector(id('record-ended-by'), PATIENCE);
  const endedBy = await console_.$eval(id('record-ended-by'), (cell) => cell.textContent.trim());
  tell('history', { history, endedBy });
} finally {
  await browser.close();
}

/** The call is up on both pages for a while. */
async function talk(page, console_, from, to) {
  await phase(page, 'talking');
  await console_.bringToFront();
  await console_.waitForFunction(
    (from, to) => {
      const text = (row, cell) => row.querySelector(`[data-testid=${cell}]`)?.textContent?.trim();
      return [...document.querySelectorAll('[data-testid=call][data-state=answered]')].some(
        (row) => text(row, 'call-from') === from && text(row, 'call-to') === to,
      );
    },
    PATIENCE,
    from,
    to,
  );
  await page.bringToFront();
  await sleep(TALK_MS);
}

/** The console shows no call any more. */
async function gone(console_) {
  await console_.bringToFront();
  await console_.waitForFunction(() => !document.querySelector('[data-testid=call]'), PATIENCE);
}
