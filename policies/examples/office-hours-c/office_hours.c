// At least so many replicas in office hours: the Rust example beside this folder, in C. A stage behind another: outside office hours
// what that one wants stands as it is.

#include "tidegate.h"

static const int64_t HOUR_MS = 3600000, DAY_MS = 24 * 3600000;

// Days as they go by since 1970-01-01, which was a Thursday.
static const char *const WEEK[7] = {"thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"};

// When the office is open: local time.
struct hours {
    uint32_t from, to; // The hours at which it opens and closes.
    uint32_t days;     // A bit for each of WEEK.
    double utc_offset; // How far local time is ahead of UTC. Hours; 5.5 is five and a half.
};

struct params {
    uint32_t minimum;
    struct hours hours;
    tg_column proposal;
};

static struct hours hours_of(tg_settings settings) {
    static const char *const keys[] = {"from", "to", "days", "utcOffset"};
    tg_no_other_keys(settings, keys, 4);
    struct hours hours = {
        .from = tg_u32_or(settings, "from", 8),
        .to = tg_u32_or(settings, "to", 18),
        .days = 0x73, // Monday to Friday.
        .utc_offset = tg_f64_or(settings, "utcOffset", 0),
    };
    if (tg_has(settings, "days")) {
        tg_settings days = tg_list(settings, "days");
        hours.days = 0;
        for (uint32_t at = 0; at < tg_length(days); at++) hours.days |= (1u << tg_choice(days, at, WEEK, 7)) & 0x7f;
        if (tg_length(days) == 0) tg_fault("settings.hours.days", "found an empty list, expected days as monday");
    }
    if (hours.to > 24)
        tg_fault("settings.hours.to", "found %u, expected at most 24", hours.to);
    else if (hours.from >= hours.to)
        tg_fault("settings.hours.from", "found %u, expected an hour before %u", hours.from, hours.to);
    if (!(hours.utc_offset >= -14 && hours.utc_offset <= 14))
        tg_fault("settings.hours.utcOffset", "found %f, expected -14 to 14 hours", hours.utc_offset);
    return hours;
}

static void bind(tg_settings settings, struct params *params) {
    static const char *const keys[] = {"minimum", "hours"};
    tg_no_other_keys(settings, keys, 2);
    params->minimum = tg_u32(settings, "minimum");
    params->hours = hours_of(tg_object(settings, "hours"));
    params->proposal = tg_want_output("proposal", true);
    tg_want_causes(TG_CREATED | TG_CHANGE | TG_TIMER);
}

static void init(const struct params *params, uint64_t at_ms, double ready, tg_nothing *state) {
    (void)params, (void)at_ms, (void)ready, (void)state;
}

// A moment: whether the office is open, and until when that stays so, at least.
struct moment {
    bool is_open;
    uint64_t until_ms;
};

static bool is_working(const struct hours *hours, int64_t day) { return hours->days >> (((day % 7) + 7) % 7) & 1; }

static uint64_t in_unix(int64_t day, int64_t in_day_ms, int64_t offset_ms) {
    if (day > INT64_MAX / DAY_MS - 2) return TG_FOR_EVER;
    int64_t ms = day * DAY_MS + in_day_ms - offset_ms;
    return ms < 0 ? TG_FOR_EVER : (uint64_t)ms;
}

static struct moment moment_at(const struct hours *hours, uint64_t at_ms) {
    int64_t offset_ms = (int64_t)(hours->utc_offset * (double)HOUR_MS), local_ms;
    if (at_ms > INT64_MAX || __builtin_add_overflow((int64_t)at_ms, offset_ms, &local_ms))
        return (struct moment){false, TG_FOR_EVER};
    int64_t in_day_ms = ((local_ms % DAY_MS) + DAY_MS) % DAY_MS, today = (local_ms - in_day_ms) / DAY_MS;
    int64_t from_ms = hours->from * HOUR_MS, to_ms = hours->to * HOUR_MS;
    if (is_working(hours, today) && from_ms <= in_day_ms && in_day_ms < to_ms)
        return (struct moment){true, in_unix(today, to_ms, offset_ms)};
    int64_t first = in_day_ms < from_ms ? today : today + 1;
    for (int64_t day = first; day < first + 7; day++)
        if (is_working(hours, day)) return (struct moment){false, in_unix(day, from_ms, offset_ms)};
    return (struct moment){false, TG_FOR_EVER};
}

static tg_decision decide(const struct params *params, tg_nothing *state, const tg_seen *seen, tg_notes *notes) {
    (void)state;
    struct moment now = moment_at(&params->hours, seen->at_ms);
    double proposed = tg_read(seen, params->proposal);
    bool is_known = !tg_is_no_data(proposed);
    uint32_t replicas = tg_replicas(proposed);
    if (is_known && (replicas >= params->minimum || !now.is_open)) return tg_want(replicas, now.until_ms);
    if (!now.is_open) return tg_hold(now.until_ms);
    tg_reason(notes, "office hours until %u:00: at least %u", params->hours.to, params->minimum);
    return tg_want(params->minimum, now.until_ms);
}

TG_SCALING("office-hours/1", struct params, tg_nothing, bind, init, decide)
