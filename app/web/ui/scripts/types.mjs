// Writes the API's types from its document. `npm run types`; a test compares the result with the file.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const DOCUMENT = here('../../../../docs/reference/api/openapi.json');
const TARGET = here('../src/lib/api-types.ts');

export function generate() {
  const { schemas } = JSON.parse(readFileSync(DOCUMENT, 'utf8')).components;
  const types = Object.entries(schemas)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, schema]) => `export type ${name} = ${type(schema)};\n`);
  return `// Made by \`npm run types\` from docs/reference/api/openapi.json. Do not edit.\n\n${types.join('\n')}`;
}

function type(schema) {
  if (schema.$ref) return schema.$ref.split('/').at(-1);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.oneOf) return schema.oneOf.map(type).join(' | ');
  if (Array.isArray(schema.type)) return schema.type.map((one) => type({ ...schema, type: one })).join(' | ');
  if (schema.type === 'array') return `Array<${type(schema.items)}>`;
  if (schema.type === 'object') return object(schema);
  return { integer: 'number', number: 'number', string: 'string', boolean: 'boolean', null: 'null' }[schema.type];
}

function object({ properties, required = [] }) {
  if (!properties) return '{ [field: string]: unknown }';
  const fields = Object.entries(properties).map(([name, schema]) => {
    const optional = required.includes(name) ? '' : '?';
    return `  ${name}${optional}: ${type(schema)};\n`;
  });
  return `{\n${fields.join('')}}`;
}

export const current = () => readFileSync(TARGET, 'utf8');

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(TARGET, generate());
