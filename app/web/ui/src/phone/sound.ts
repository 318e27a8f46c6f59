// Everything that is heard or measured by Web Audio: levels, ringing.

let shared: AudioContext | undefined;

function context(): AudioContext | undefined {
  if (!shared && 'AudioContext' in globalThis) shared = new AudioContext();
  // Suspended until the first gesture; asking again is harmless.
  if (shared?.state === 'suspended') void shared.resume().catch(() => {});
  return shared;
}

/** Measures a stream. `read` gives 0 (silence) to 1 (full scale), as the ear counts: linear in decibels. */
export class LevelMeter {
  #source: MediaStreamAudioSourceNode | undefined;
  #analyser: AnalyserNode | undefined;
  #samples = new Float32Array(1024);

  constructor(stream: MediaStream) {
    const audio = context();
    if (!audio || stream.getAudioTracks().length === 0) return;
    this.#analyser = audio.createAnalyser();
    this.#analyser.fftSize = this.#samples.length;
    this.#source = audio.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  read(): number {
    if (!this.#analyser) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return loudness(Math.sqrt(sum / this.#samples.length));
  }

  close() {
    this.#source?.disconnect();
  }
}

/** From -60 dBFS up to full scale. */
export function loudness(rms: number): number {
  if (rms <= 0) return 0;
  return Math.min(1, Math.max(0, 1 + (20 * Math.log10(rms)) / 60));
}

/** What is played while a call is offered (`in`) or waits for the far side (`out`). */
export class Ringer {
  #timer: ReturnType<typeof setInterval> | undefined;
  #playing: OscillatorNode[] = [];

  start(kind: 'in' | 'out') {
    this.stop();
    const burst = () => (kind === 'in' ? this.#burst([660, 880], 0.8, 0.08) : this.#burst([425], 1, 0.04));
    burst();
    this.#timer = setInterval(burst, kind === 'in' ? 2500 : 5000);
    if (kind === 'in') navigator.vibrate?.([400, 200, 400]);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const tone of this.#playing) tone.disconnect();
    this.#playing = [];
  }

  #burst(frequencies: number[], seconds: number, volume: number) {
    const audio = context();
    if (!audio || audio.state !== 'running') return;
    for (const tone of this.#playing) tone.disconnect();
    const gain = audio.createGain();
    const [start, end] = [audio.currentTime, audio.currentTime + seconds];
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(volume, start + 0.03);
    gain.gain.setValueAtTime(volume, end - 0.05);
    gain.gain.linearRampToValueAtTime(0, end);
    gain.connect(audio.destination);
    this.#playing = frequencies.map((frequency) => {
      const tone = audio.createOscillator();
      tone.frequency.value = frequency;
      tone.connect(gain);
      tone.start(start);
      tone.stop(end);
      return tone;
    });
  }
}
