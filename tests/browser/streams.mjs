// Two pages of Chromium with a camera and a microphone each; their descriptions go through a relay under NG control,
// as Kamailio's would. Tells what each page hears and sees. Usage: node streams.mjs BASE CONTROL-IP CONTROL-PORT
import dgram from 'node:dgram';
import { freshPage, launch, sleep, tell } from './browser.mjs';

const [, control, port] = process.argv.slice(2);
const socket = dgram.createSocket('udp4');
let cookie = 0;

/** One command of NG, in JSON. */
function ask(command, more) {
  const name = `${process.pid}_${++cookie}`;
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no answer to ${command}`)), 5000);
    socket.once('message', (message) => {
      clearTimeout(late);
      const reply = JSON.parse(message.toString().slice(name.length + 1));
      if (reply.result === 'error') reject(new Error(`${command}: ${reply['error-reason']}`));
      else resolve(reply);
    });
    socket.send(`${name} ${JSON.stringify({ command, ...more })}`, Number(port), control);
  });
}

/** A page with a connection that sends sound and pictures. */
async function party(browser, bundlePolicy) {
  const page = await freshPage(browser);
  await page.goto('https://127.0.0.1:1/').catch(() => page.goto('about:blank'));
  await page.evaluate(async (bundlePolicy) => {
    const pc = new RTCPeerConnection({ bundlePolicy });
    window.pc = pc;
    const canvas = document.createElement('canvas');
    const draw = canvas.getContext('2d');
    setInterval(() => {
      draw.fillStyle = `hsl(${Date.now() % 360} 90% 50%)`;
      draw.fillRect(0, 0, canvas.width, canvas.height);
    }, 40);
    const audio = new AudioContext();
    const tone = audio.createOscillator();
    const sound = audio.createMediaStreamDestination();
    tone.connect(sound);
    tone.start();
    pc.addTrack(sound.stream.getTracks()[0]);
    pc.addTrack(canvas.captureStream(25).getTracks()[0]);
    pc.ontrack = ({ track }) => {
      const element = document.createElement(track.kind);
      element.srcObject = new MediaStream([track]);
      element.autoplay = true;
      document.body.append(element);
    };
    window.gathered = async () => {
      if (pc.iceGatheringState !== 'complete') {
        await new Promise((done) => {
          pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
        });
      }
      return pc.localDescription.sdp;
    };
  }, bundlePolicy);
  return page;
}

/** A call between two pages with these policies: packets and frames that each has had. */
async function call(browser, id, policies) {
  const [alice, bob] = [await party(browser, policies[0]), await party(browser, policies[1])];
  const names = { 'call-id': id, 'from-tag': 'alice' };
  const offer = await alice.evaluate(async () => {
    await pc.setLocalDescription();
    return gathered();
  });
  const offered = (await ask('offer', { ...names, sdp: offer, ICE: 'force' })).sdp;
  const answer = await bob.evaluate(async (sdp) => {
    await pc.setRemoteDescription({ type: 'offer', sdp });
    await pc.setLocalDescription();
    return gathered();
  }, offered);
  const answered = (await ask('answer', { ...names, 'to-tag': 'bob', sdp: answer, ICE: 'force' })).sdp;
  const refused = await alice.evaluate(async (sdp) => {
    try {
      await pc.setRemoteDescription({ type: 'answer', sdp });
      return null;
    } catch (error) {
      return String(error);
    }
  }, answered);
  await sleep(6000);
  const seen = async (page) =>
    page.evaluate(async () => {
      const found = { state: pc.connectionState };
      for (const report of (await pc.getStats()).values()) {
        if (report.type !== 'inbound-rtp') continue;
        found[report.kind] = { packets: report.packetsReceived, frames: report.framesDecoded ?? 0 };
      }
      return found;
    });
  const result = { refused, alice: await seen(alice), bob: await seen(bob) };
  await ask('delete', names);
  await alice.browserContext().close();
  await bob.browserContext().close();
  return result;
}

const browser = await launch();
try {
  tell('balanced', await call(browser, 'balanced', ['balanced', 'balanced']));
  tell('max-bundle', await call(browser, 'max-bundle', ['max-bundle', 'balanced']));
  tell('max-bundle-callee', await call(browser, 'callee', ['balanced', 'max-bundle']));
} finally {
  await browser.close();
  socket.close();
}
