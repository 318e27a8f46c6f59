// What the scripts here share: Chromium with a microphone of its own, and words for what a page shows.
import puppeteer from 'puppeteer-core';

const CHROMIUM = process.env.WHIMBREL_CHROMIUM ?? '/usr/bin/chromium';

/** Waits on a busy machine are long; the story that runs the script has its own limit. */
export const PATIENCE = { timeout: 30_000 };

/** Chromium; `microphone` is the WAV file it hears, over and over. */
export function launch(microphone) {
  const args = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    '--disable-component-update',
    '--ignore-certificate-errors',
    '--autoplay-policy=no-user-gesture-required',
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream',
    '--allow-loopback-in-peer-connection',
    '--disable-features=WebRtcHideLocalIpsWithMdns',
  ];
  if (microphone) args.push(`--use-file-for-fake-audio-capture=${microphone}`);
  // Over a pipe, so that Chromium ends when this process does, however it does.
  return puppeteer.launch({ executablePath: CHROMIUM, headless: true, pipe: true, args });
}

/** A page with storage of its own. */
export async function freshPage(browser, viewport = { width: 1280, height: 860 }) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport(viewport);
  page.on('pageerror', (error) => console.error('page error', error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') console.error('console', message.text());
  });
  return page;
}

/** One line of JSON for whoever started the script. */
export function tell(step, more = {}) {
  console.log(JSON.stringify({ step, ...more }));
}

export const id = (name) => `[data-testid="${name}"]`;

/** A user signs in and the phone registers. */
export async function signIn(page, base, account, password) {
  await page.goto(`${base}/phone`);
  await page.waitForSelector(id('account-input'), PATIENCE);
  await page.type(id('account-input'), account);
  await page.type(id('password-input'), password);
  await page.click(id('sign-in'));
  await page.waitForSelector(`${id('registration-state')}[data-state="registered"]`, PATIENCE);
}

/** The administrator comes in by the one-time link. */
export async function signInByLink(page, base, link) {
  await page.goto(base + link);
  await page.waitForSelector(id('feed-state'), PATIENCE);
}

/** Waits for the call panel to show a phase. */
export function phase(page, name) {
  return page.waitForSelector(`${id('call-panel')}[data-phase="${name}"]`, PATIENCE);
}

export async function dial(page, whom) {
  await page.waitForSelector(id('dial-input'), PATIENCE);
  await page.$eval(id('dial-input'), (input) => {
    input.value = '';
    input.dispatchEvent(new Event('input'));
  });
  await page.type(id('dial-input'), whom);
  await page.click(id('call'));
}

/** What the phone says of itself. */
export const state = (page) => page.evaluate(() => window.whimbrelPhone);

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
