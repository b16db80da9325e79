// At least so many replicas in office hours: the Rust example beside this folder, in JavaScript. A stage behind another: outside
// office hours what that one wants stands as it is.

import { Faults, FOR_EVER, hold, replicas, scalingPolicy, wanted } from "../../sdk-js/tidegate.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Days as they go by since 1970-01-01, which was a Thursday. */
const WEEK = ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];
const WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday"];

const isWhole = (value) => Number.isInteger(value) && value >= 0 && value <= 4294967295;

function hoursOf(settings, faults) {
  const path = "settings.hours";
  faults.noOtherKeys(settings, path, ["from", "to", "days", "utcOffset"]);
  const { from = 8, to = 18, days = WEEKDAYS, utcOffset = 0 } = settings;
  const isNumber = (key, value) => {
    if (!isWhole(value)) faults.add(`${path}.${key}`, `found ${JSON.stringify(value)}, expected a whole number`);
    return isWhole(value);
  };
  if (isNumber("from", from) && isNumber("to", to)) {
    if (to > 24) faults.add(`${path}.to`, `found ${to}, expected at most 24`);
    else if (from >= to) faults.add(`${path}.from`, `found ${from}, expected an hour before ${to}`);
  }
  if (!Array.isArray(days)) faults.add(`${path}.days`, `found ${JSON.stringify(days)}, expected a list`);
  else if (days.length === 0) faults.add(`${path}.days`, "found an empty list, expected days as monday");
  else
    days.forEach((day, at) => {
      if (!WEEK.includes(day))
        faults.add(`${path}.days.${at}`, `found ${JSON.stringify(day)}, expected one of ${WEEK.join(", ")}`);
    });
  if (!(typeof utcOffset === "number" && utcOffset >= -14 && utcOffset <= 14))
    faults.add(`${path}.utcOffset`, `found ${JSON.stringify(utcOffset)}, expected -14 to 14 hours`);
  return { from, to, days, utcOffset };
}

function bind({ settings }, want) {
  const faults = new Faults();
  if (typeof settings !== "object" || settings === null) faults.add("settings", "expected an object");
  faults.throwIfAny();
  faults.noOtherKeys(settings, "settings", ["minimum", "hours"]);
  const { minimum, hours = {} } = settings;
  if (minimum === undefined) faults.add("settings", "missing field `minimum`");
  else if (!isWhole(minimum))
    faults.add("settings.minimum", `found ${JSON.stringify(minimum)}, expected a whole number`);
  if (typeof hours !== "object" || hours === null || Array.isArray(hours))
    faults.add("settings.hours", `found ${JSON.stringify(hours)}, expected an object`);
  faults.throwIfAny();
  const checked = hoursOf(hours, faults);
  faults.throwIfAny();
  want.causes("created", "change", "timer");
  return { minimum, hours: checked, proposal: want.output("proposal") };
}

function init() {}

const modulo = (value, by) => ((value % by) + by) % by;

/** Whether the office is open then, and until when that stays so, at least. */
function momentAt({ from, to, days, utcOffset }, atMs) {
  const offsetMs = Math.trunc(utcOffset * HOUR_MS);
  const localMs = atMs + offsetMs;
  const inDayMs = modulo(localMs, DAY_MS);
  const today = (localMs - inDayMs) / DAY_MS;
  const isWorking = (day) => days.includes(WEEK[modulo(day, 7)]);
  const inUnix = (day, hour) => {
    const ms = day * DAY_MS + hour * HOUR_MS - offsetMs;
    return ms < 0 ? FOR_EVER : ms;
  };
  if (isWorking(today) && inDayMs >= from * HOUR_MS && inDayMs < to * HOUR_MS)
    return { isOpen: true, until: inUnix(today, to) };
  const first = inDayMs < from * HOUR_MS ? today : today + 1;
  for (let day = first; day < first + 7; day++) if (isWorking(day)) return { isOpen: false, until: inUnix(day, from) };
  return { isOpen: false, until: FOR_EVER };
}

function decide({ minimum, hours, proposal }, _state, seen, notes) {
  const { isOpen, until } = momentAt(hours, seen.atMs);
  const proposed = seen.read(proposal);
  const isKnown = !Number.isNaN(proposed);
  if (isKnown && (replicas(proposed) >= minimum || !isOpen)) return wanted(replicas(proposed), until);
  if (!isOpen) return hold(until);
  notes.reason(() => `office hours until ${hours.to}:00: at least ${minimum}`);
  return wanted(minimum, until);
}

export const scaling = scalingPolicy({ stateSchema: "office-hours/1", bind, init, decide });
