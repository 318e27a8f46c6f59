// Ten seconds of something like speech, as 20 ms frames: FOLDER/opus.frames (48 kHz, 24 kbit/s) and FOLDER/pcmu.frames, each
// frame behind its length in two bytes.
#include <math.h>
#include <opus/opus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint8_t mu_law(int sample) {
  int sign = sample < 0 ? 0x80 : 0, exponent = 7;
  sample = abs(sample) > 32635 ? 32635 + 132 : abs(sample) + 132;
  for (int mask = 0x4000; exponent > 0 && !(sample & mask); mask >>= 1) exponent--;
  return ~(sign | exponent << 4 | (sample >> (exponent + 3) & 15));
}

static FILE *create(const char *folder, const char *name) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  if (!file) perror(path), exit(1);
  return file;
}

static void write_frame(FILE *file, const uint8_t *bytes, uint16_t len) {
  fwrite(&len, 2, 1, file);
  fwrite(bytes, 1, len, file);
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: frames FOLDER\n"), 2;
  int error;
  OpusEncoder *encoder = opus_encoder_create(48000, 1, OPUS_APPLICATION_VOIP, &error);
  opus_encoder_ctl(encoder, OPUS_SET_BITRATE(24000));
  FILE *opus = create(argv[1], "opus.frames"), *pcmu = create(argv[1], "pcmu.frames");
  double phase = 0;
  for (int frame = 0; frame < 500; frame++) {
    int16_t sound[960];
    for (int i = 0; i < 960; i++) {
      // A voice's pitch and two formants that wander, in syllables.
      double t = (frame * 960 + i) / 48000.0, pitch = 120 + 30 * sin(4.4 * t), value = 0;
      phase += 2 * M_PI * pitch / 48000;
      for (int h = 1; h < 20; h++) {
        double low = (h * pitch - 500 - 300 * sin(3 * t)) / 300, high = (h * pitch - 1500 + 500 * sin(2 * t)) / 400;
        value += sin(h * phase) / h * (exp(-low * low) + exp(-high * high) / 2);
      }
      double loud = 0.5 + 0.5 * sin(19.5 * t);
      sound[i] = loud * loud * 9000 * value + rand() % 300 - 150;
    }
    uint8_t coded[1500], narrow[160];
    write_frame(opus, coded, opus_encode(encoder, sound, 960, coded, sizeof coded));
    for (int i = 0; i < 160; i++) {
      int sum = 0;
      for (int j = 0; j < 6; j++) sum += sound[6 * i + j];
      narrow[i] = mu_law(sum / 6);
    }
    write_frame(pcmu, narrow, sizeof narrow);
  }
  return 0;
}
