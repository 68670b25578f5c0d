import type { UnitBefore } from './journal.js';
import type { Facts } from './probe.js';
import type { Unsettled } from './unsettled.js';

/** As the first of the runs that were killed found them; otherwise as this one did. */
export function unitsBefore({
  facts,
  unsettled,
}: {
  readonly facts: Pick<Facts, 'units'>;
  readonly unsettled: Pick<Unsettled, 'units'>;
}): ReadonlyMap<string, UnitBefore> {
  return new Map([
    ...[...facts.units].map(([unit, { active, enabled }]): [string, UnitBefore] => [
      unit,
      { unit, active, enabled },
    ]),
    ...unsettled.units,
  ]);
}
