import { z } from 'zod';
import { Duration, durationMs, FileName, IPV4, Port } from './scalars.js';
import { Name, TargetPath } from './grammar.js';
import { strict } from './strict.js';

/*
 * The values that a component's configuration takes from the site. Each type has a closed grammar
 * without space, quote, "$", "%", "#", ";", "\" or line end, so that a value stays one word of one line
 * in any configuration file, unit or argv.
 */

/** What a site may write for a value. */
export type SiteValue = string | number;

export const ValueName = z
  .string()
  .regex(/^[a-z][A-Za-z0-9]*$/, 'must be letters and digits, beginning with a lower-case letter')
  .max(48, 'must have at most 48 characters');

const Address = z
  .string()
  .regex(new RegExp(`^${IPV4}$`), 'must be an IPv4 address such as 10.20.0.11, 127.0.0.1 or 0.0.0.0');

const SIZE_UNITS = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

const Size = z
  .string({ error: 'must be a size with its unit: 64KiB, 256MiB or 2GiB' })
  .regex(/^[1-9][0-9]{0,5}(?:KiB|MiB|GiB)$/, 'must be a size with its unit: 64KiB, 256MiB or 2GiB');

/** One of the words of a choice. */
const Word = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'must be one word of letters, digits, ".", "_" and "-"')
  .max(48, 'must have at most 48 characters');

const whole = z.int('must be a whole number');

const described = {
  /** For whoever writes the site. */
  description: z
    .string()
    .regex(/^[^\p{Cc}]*$/u, 'must not hold control characters')
    .max(200, 'must have at most 200 characters')
    .optional(),
};

const WrittenValue = z.discriminatedUnion(
  'type',
  [
    strict({ type: z.literal('port'), default: Port.optional(), ...described }),
    strict({ type: z.literal('address'), default: Address.optional(), ...described }),
    strict({
      type: z.literal('duration'),
      default: Duration.optional(),
      /** How it is written into a file: a whole number of these. */
      as: z.enum(['seconds', 'milliseconds'], 'must be seconds or milliseconds').default('seconds'),
      ...described,
    }),
    strict({ type: z.literal('size'), default: Size.optional(), ...described }),
    strict({ type: z.literal('name'), default: Name.optional(), ...described }),
    strict({ type: z.literal('path'), default: TargetPath.optional(), ...described }),
    strict({
      type: z.literal('integer'),
      min: whole,
      max: whole,
      default: whole.optional(),
      ...described,
    }),
    strict({
      type: z.literal('choice'),
      of: z.array(Word).min(1, 'must hold at least one word').max(50, 'must hold at most 50 words'),
      default: Word.optional(),
      ...described,
    }),
    /** The site names a file next to itself; its content is the value, and is never printed. */
    strict({ type: z.literal('secret'), ...described }),
  ],
  'must have a type: port, address, duration, size, name, path, integer, choice or secret',
);

/** One value: its type and, where the site need not give it, its default. */
export const ValueDeclaration = WrittenValue.superRefine((declared, context) => {
  if (declared.type === 'integer' && declared.min > declared.max)
    context.addIssue({ code: 'custom', path: ['max'], message: 'is less than min' });
  // What the type alone allows has been checked; these narrow it further.
  const narrowed = { integer: whole, choice: Word, duration: Duration } as const;
  if (!(declared.type in narrowed) || !('default' in declared) || declared.default === undefined) return;
  if (!narrowed[declared.type as keyof typeof narrowed].safeParse(declared.default).success) return;
  for (const issue of valueSchema(declared).safeParse(declared.default).error?.issues ?? [])
    context.addIssue({ code: 'custom', path: ['default'], message: issue.message });
});
export type ValueDeclaration = z.infer<typeof WrittenValue>;

/** Name → declaration. */
export const Values = z.record(ValueName, ValueDeclaration);
export type Values = Readonly<Record<string, ValueDeclaration>>;

/** The grammar of what a site writes for this value. */
export function valueSchema(declared: ValueDeclaration): z.ZodType<SiteValue, SiteValue> {
  switch (declared.type) {
    case 'port':
      return Port;
    case 'address':
      return Address;
    case 'duration':
      return declared.as === 'milliseconds' ? Duration : WholeSeconds;
    case 'size':
      return Size;
    case 'name':
      return Name;
    case 'path':
      return TargetPath;
    case 'integer': {
      const message = `must be a whole number from ${String(declared.min)} to ${String(declared.max)}`;
      return z.int(message).min(declared.min, message).max(declared.max, message);
    }
    case 'choice': {
      const message = `must be one of: ${declared.of.join(', ')}`;
      return z.string(message).refine((word) => declared.of.includes(word), message);
    }
    case 'secret':
      return FileName;
  }
}

const WholeSeconds = Duration.refine(
  (text) => durationMs(text) % 1000 === 0,
  'must be whole seconds: this software takes nothing finer',
);

/** A component's section in the site: exactly the declared values; those with a default may be left out. */
export function valuesSchema(values: Values) {
  return strict(
    Object.fromEntries(
      Object.entries(values).map(([name, declared]) => {
        const schema = valueSchema(declared);
        return [name, defaultOf(declared) === undefined ? schema : schema.optional()];
      }),
    ),
  );
}

export function defaultOf(declared: ValueDeclaration): SiteValue | undefined {
  return declared.type === 'secret' ? undefined : declared.default;
}

/**
 * How a value stands in a file: a duration as a number of its unit, a size in bytes, the rest as written.
 * @param written has passed valueSchema; of a secret, its content has passed SecretText
 */
export function formatValue(declared: ValueDeclaration, written: SiteValue): string {
  const text = String(written);
  if (declared.type === 'duration')
    return String(durationMs(text) / (declared.as === 'milliseconds' ? 1 : 1000));
  if (declared.type === 'size') {
    const unit = text.slice(-3) as keyof typeof SIZE_UNITS;
    return String(Number.parseInt(text, 10) * SIZE_UNITS[unit]);
  }
  return text;
}

/** The content of a secret's file: one word; long enough for base64 of 32 random bytes and more. */
export const SecretText = z
  .string()
  .regex(/^[A-Za-z0-9._~+=/@:-]*$/, 'must hold only letters, digits and . _ ~ + = / @ : -')
  .min(8, 'must have at least 8 characters')
  .max(128, 'must have at most 128 characters');
