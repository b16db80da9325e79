// What a scaling policy in C builds on: settings, state, one `decide` for one target. Batches, columns and the bytes that cross are
// made here, as `policies/sdk` does it for Rust. One header and nothing else: no libc, no WASI, no imports.
//
// A policy is one file. It has a struct of compiled settings, a struct of what it remembers, three functions, and at its end
//
//     TG_SCALING("my-policy/1", struct params, struct state, bind, init, decide)
//
// Build it with clang and wasm-ld, then `tidegate componentize`; `policies/examples/office-hours-c` shows all of it. The words are
// those of `wit/policy.wit`. Every call runs in a fresh instance, so nothing is ever freed, and no global lives on.

#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(__wasm__) || !defined(__wasm_bulk_memory__)
#error "build for Wasm with copies that need no libc: clang --target=wasm32 -mbulk-memory"
#endif

// ---------------------------------------------------------------- what a policy uses

// Text of a known length, as it crosses. Not ended by a zero.
typedef struct {
    const char *at;
    uint32_t length;
} tg_text;

// For a policy that remembers nothing.
typedef struct {
} tg_nothing;

#define TG_FOR_EVER UINT64_MAX

// What makes the host ask for a decision.
enum { TG_CREATED = 1, TG_TICK = 2, TG_POKE = 4, TG_CHANGE = 8, TG_TIMER = 16 };

// An input or an output that was asked for in `bind`. Keep it in the params.
typedef struct {
    uint32_t at;
} tg_column;

// What was decided for one target.
typedef struct {
    uint32_t wanted;     // Replicas, before the host's bounds.
    bool apply;          // Whether replicas are to be changed to that.
    uint64_t next_at_ms; // Until when this stands if every input does; 0 does not say.
} tg_decision;

// What is seen of one target.
typedef struct {
    uint64_t at_ms;  // Now. Unix milliseconds.
    uint32_t causes; // Why the target is asked about.
    uint32_t group;  // Equal numbers in a call are one service; the number itself means nothing.
    const double *inputs;
    uint32_t inputs_length;
    uint32_t stride, at; // Distance of two columns, and the position of the target in each.
    const tg_text *words;
    uint32_t words_length;
} tg_seen;

// What is told of one target beside its decision.
typedef struct tg_notes tg_notes;

// An object of the settings document, or a list in it. It knows its place for faults; a missing one has no entries.
typedef struct tg_value tg_value;
typedef struct {
    const tg_value *value;
    tg_text path;
} tg_settings;

static bool tg_is_no_data(double value) { return value != value; }
static double tg_no_data(void) { return __builtin_nan(""); }

// A number as replicas: cut off to a whole one, within the range; 0 for "no data".
static uint32_t tg_replicas(double value) {
    if (!(value > 0)) return 0;
    return value >= 4294967295.0 ? UINT32_MAX : (uint32_t)value;
}

// In `bind`: asking. Names are those of `docs/signals.md`; asking twice for the same is asking once.
static void tg_want_causes(uint32_t causes);
static tg_column tg_want_window(const char *signal, uint32_t span_s, const char *averaging);
static tg_column tg_want_fact(const char *name, bool required);
static tg_column tg_want_output(const char *name, bool required);
static tg_column tg_give_output(const char *name);

// In `bind`: reading settings. What is missing or wrong becomes a fault at its place, and the call gives 0 or the fallback.
static uint32_t tg_u32(tg_settings of, const char *key);
static uint32_t tg_u32_or(tg_settings of, const char *key, uint32_t fallback);
static double tg_f64_or(tg_settings of, const char *key, double fallback);
static bool tg_bool_or(tg_settings of, const char *key, bool fallback);
static bool tg_has(tg_settings of, const char *key);
static tg_settings tg_object(tg_settings of, const char *key);
static tg_settings tg_list(tg_settings of, const char *key);
static uint32_t tg_length(tg_settings list);
// Which of `names` entry `at` of a list is; `count` where it is none of them, which is a fault.
static uint32_t tg_choice(tg_settings list, uint32_t at, const char *const *names, uint32_t count);
// A fault for every key that is not among those that were read, so that a misspelt one is not passed over.
static void tg_no_other_keys(tg_settings of, const char *const *names, uint32_t count);
// The rest of the document: `profile`, and `service` with its `annotations`.
static tg_settings tg_profile(void);
static tg_settings tg_service(void);

// Texts take `%s` (a C string), `%t` (a tg_text *), `%u` (uint32_t), `%d` (int32_t), `%f` (double, with one decimal) and `%%`.
static void tg_fault(const char *path, const char *format, ...);
static void tg_warn(const char *path, const char *format, ...);

// In `decide`: reading, and telling why. Nothing is formatted unless somebody reads.
static double tg_read(const tg_seen *seen, tg_column input);
static tg_text tg_word(const tg_seen *seen, tg_column input);
static void tg_give(tg_notes *notes, tg_column output, double value);
static void tg_reason(tg_notes *notes, const char *format, ...);
static void tg_figure(tg_notes *notes, const char *name, double value);

static tg_decision tg_want(uint32_t replicas, uint64_t until_ms) {
    return (tg_decision){replicas, true, until_ms};
}
static tg_decision tg_hold(uint64_t until_ms) { return (tg_decision){0, false, until_ms}; }

// ---------------------------------------------------------------- memory

extern unsigned char __heap_base;
static uintptr_t tg_heap_at;

// Room that is never given back. Always aligned to 8, so that params can be read where the host put them.
static void *tg_room(size_t bytes) {
    if (tg_heap_at == 0) tg_heap_at = ((uintptr_t)&__heap_base + 7) & ~(uintptr_t)7;
    uintptr_t begins = tg_heap_at, room = (uintptr_t)__builtin_wasm_memory_size(0) << 16;
    if (bytes > UINT32_MAX - 65544u - begins) __builtin_trap();
    uintptr_t ends = (begins + bytes + 7) & ~(uintptr_t)7;
    if (ends > room) {
        size_t pages = (ends - room + 65535) >> 16;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) __builtin_trap();
    }
    tg_heap_at = ends;
    return (void *)begins;
}

// A list of the other side, or room for one.
__attribute__((export_name("cabi_realloc"))) void *tg_realloc(void *old, size_t old_bytes, size_t align,
                                                              size_t bytes) {
    (void)align;
    if (bytes <= old_bytes) return old;
    void *room = tg_room(bytes);
    if (old_bytes) __builtin_memcpy(room, old, old_bytes);
    return room;
}

// ---------------------------------------------------------------- text

static uint32_t tg_length_of(const char *text) {
    uint32_t length = 0;
    while (text[length]) length++;
    return length;
}

static tg_text tg_text_of(const char *text) { return (tg_text){text, tg_length_of(text)}; }

static bool tg_is(tg_text one, const char *other) {
    for (uint32_t at = 0; at < one.length; at++)
        if (one.at[at] != other[at]) return false;
    return other[one.length] == 0;
}

typedef struct {
    char *at;
    uint32_t length, capacity;
} tg_builder;

static void tg_add(tg_builder *text, const char *at, uint32_t length) {
    if (text->length + length > text->capacity) {
        uint32_t capacity = (text->length + length) * 2;
        char *grown = tg_room(capacity);
        if (text->length) __builtin_memcpy(grown, text->at, text->length);
        text->at = grown;
        text->capacity = capacity;
    }
    if (length) __builtin_memcpy(text->at + text->length, at, length);
    text->length += length;
}

static void tg_add_number(tg_builder *text, uint64_t number) {
    char digits[20];
    uint32_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    tg_add(text, digits + at, sizeof digits - at);
}

static void tg_add_decimal(tg_builder *text, double value) {
    if (tg_is_no_data(value)) return tg_add(text, "no data", 7);
    if (value < 0) {
        tg_add(text, "-", 1);
        value = -value;
    }
    if (value >= 1e15) return tg_add(text, "very many", 9);
    uint64_t tenths = (uint64_t)(value * 10 + 0.5);
    tg_add_number(text, tenths / 10);
    char decimal[2] = {'.', (char)('0' + tenths % 10)};
    tg_add(text, decimal, 2);
}

static tg_text tg_format(const char *format, va_list values) {
    tg_builder text = {0};
    for (; *format; format++) {
        if (*format != '%') {
            tg_add(&text, format, 1);
            continue;
        }
        switch (*++format) {
        case 's': {
            tg_text value = tg_text_of(va_arg(values, const char *));
            tg_add(&text, value.at, value.length);
            break;
        }
        case 't': {
            const tg_text *value = va_arg(values, const tg_text *);
            tg_add(&text, value->at, value->length);
            break;
        }
        case 'u': tg_add_number(&text, va_arg(values, uint32_t)); break;
        case 'd': {
            int32_t value = va_arg(values, int32_t);
            if (value < 0) tg_add(&text, "-", 1);
            tg_add_number(&text, value < 0 ? (uint64_t)(-(int64_t)value) : (uint64_t)value);
            break;
        }
        case 'f': tg_add_decimal(&text, va_arg(values, double)); break;
        case '%': tg_add(&text, "%", 1); break;
        // An author's slip, which the first test of the policy meets.
        default: __builtin_trap();
        }
    }
    return (tg_text){text.at, text.length};
}

static tg_text tg_formatted(const char *format, ...) {
    va_list values;
    va_start(values, format);
    tg_text text = tg_format(format, values);
    va_end(values);
    return text;
}

// ---------------------------------------------------------------- what crosses: the layout of wit/policy.wit

typedef struct {
    tg_text path, message;
} tg_fault_record;

typedef struct {
    uint8_t *at;
    uint32_t length;
} tg_bytes;

typedef struct {
    uint32_t *at;
    uint32_t length;
} tg_numbers;

typedef struct {
    tg_bytes bytes;
    tg_numbers ends;
} tg_states;

typedef struct {
    double *at;
    uint32_t length;
} tg_doubles;

typedef struct {
    uint8_t source; // 0 window, 1 fact, 2 output
    tg_text name;   // of the signal for a window
    uint32_t span_s;
    tg_text averaging;
    uint8_t required;
} tg_input;

typedef struct {
    tg_bytes params;
    uint8_t scope, causes;
    tg_input *inputs;
    uint32_t inputs_length;
    tg_text *outputs;
    uint32_t outputs_length;
    tg_fault_record *warnings;
    uint32_t warnings_length;
} tg_program;

typedef struct {
    tg_numbers culprits;
    tg_text message;
} tg_failure;

typedef struct {
    tg_numbers wanted;
    tg_bytes apply;
    struct {
        uint64_t *at;
        uint32_t length;
    } next_at_ms;
    tg_doubles outputs;
    tg_states states;
} tg_decisions;

typedef struct {
    tg_text name;
    double value;
} tg_figure_record;

typedef struct {
    tg_text reason;
    tg_figure_record *figures;
    uint32_t figures_length;
} tg_explanation;

typedef struct {
    uint64_t at_ms;
    tg_bytes causes_of;
    tg_bytes *params;
    uint32_t params_length;
    tg_numbers params_of, groups;
    tg_states states;
    tg_doubles inputs;
    tg_text *words;
    uint32_t words_length;
} tg_batch;

// What a call returns: whether it failed, and what there is in either case.
typedef struct {
    uint8_t is_err;
    union {
        tg_program program;
        struct {
            tg_fault_record *at;
            uint32_t length;
        } faults;
        tg_states states;
        tg_decisions decisions;
        struct {
            tg_explanation *at;
            uint32_t length;
        } explanations;
        tg_failure failure;
    };
} tg_answer;

_Static_assert(sizeof(tg_batch) == 72 && sizeof(tg_input) == 28 && sizeof(tg_figure_record) == 16,
               "the layout of the contract");
_Static_assert(offsetof(tg_answer, program) == 4 && offsetof(tg_program, inputs) == 12,
               "the layout of the contract");

static tg_answer tg_answered;

// ---------------------------------------------------------------- a settings document

struct tg_value {
    enum { TG_NULL, TG_BOOL, TG_NUMBER, TG_STRING, TG_LIST, TG_OBJECT } kind;
    bool flag;
    tg_text key;  // in an object
    tg_text text; // of a string, or a number as it was written
    const tg_value *first, *next;
};

static struct {
    tg_fault_record faults[64], warnings[64];
    uint32_t faults_length, warnings_length;
    uint32_t causes;
    tg_input inputs[256];
    uint32_t inputs_length;
    tg_text outputs[256];
    uint32_t outputs_length;
    tg_settings document;
} tg_bound;

static void tg_fault_at(tg_text path, tg_text message) {
    if (tg_bound.faults_length < 64)
        tg_bound.faults[tg_bound.faults_length++] = (tg_fault_record){path, message};
}

__attribute__((unused)) static void tg_fault(const char *path, const char *format, ...) {
    va_list values;
    va_start(values, format);
    tg_fault_at(tg_text_of(path), tg_format(format, values));
    va_end(values);
}

__attribute__((unused)) static void tg_warn(const char *path, const char *format, ...) {
    va_list values;
    va_start(values, format);
    if (tg_bound.warnings_length < 64)
        tg_bound.warnings[tg_bound.warnings_length++] =
            (tg_fault_record){tg_text_of(path), tg_format(format, values)};
    va_end(values);
}

typedef struct {
    const char *at, *end;
    bool is_bad;
    uint32_t depth;
} tg_parser;

static void tg_skip_space(tg_parser *json) {
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\t' || *json->at == '\r'))
        json->at++;
}

static bool tg_take(tg_parser *json, const char *text) {
    const char *at = json->at;
    for (; *text; text++, at++)
        if (at >= json->end || *at != *text) return false;
    json->at = at;
    return true;
}

static uint32_t tg_hex(tg_parser *json) {
    uint32_t value = 0;
    for (int digit = 0; digit < 4; digit++, json->at++) {
        char letter = json->at < json->end ? *json->at : ' ';
        if (letter >= '0' && letter <= '9') value = value * 16 + (uint32_t)(letter - '0');
        else if ((letter | 32) >= 'a' && (letter | 32) <= 'f') value = value * 16 + (uint32_t)((letter | 32) - 'a' + 10);
        else json->is_bad = true;
    }
    return value;
}

static void tg_add_letter(tg_builder *text, uint32_t code) {
    char bytes[4];
    if (code < 0x80) {
        bytes[0] = (char)code;
        return tg_add(text, bytes, 1);
    }
    uint32_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (uint32_t at = length - 1; at > 0; at--, code >>= 6) bytes[at] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)((0xf0 << (4 - length)) | code);
    tg_add(text, bytes, length);
}

// The text behind a quotation mark, up to the next one.
static tg_text tg_parse_string(tg_parser *json) {
    tg_builder text = {0};
    while (json->at < json->end && !json->is_bad) {
        char letter = *json->at++;
        if (letter == '"') return (tg_text){text.at, text.length};
        if ((unsigned char)letter < 0x20) break;
        if (letter != '\\') {
            tg_add(&text, &letter, 1);
            continue;
        }
        static const char escaped[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        letter = json->at < json->end ? *json->at++ : ' ';
        if (letter == 'u') {
            uint32_t code = tg_hex(json);
            if (code >= 0xd800 && code < 0xdc00 && tg_take(json, "\\u")) {
                uint32_t low = tg_hex(json);
                if (low < 0xdc00 || low > 0xdfff) break;
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            } else if (code >= 0xd800 && code <= 0xdfff) {
                break;
            }
            tg_add_letter(&text, code);
            continue;
        }
        uint32_t at = 0;
        while (escaped[at] && escaped[at] != letter) at++;
        if (!escaped[at]) break;
        tg_add(&text, &meant[at], 1);
    }
    json->is_bad = true;
    return (tg_text){0};
}

static bool tg_is_digit(const tg_parser *json) { return json->at < json->end && *json->at >= '0' && *json->at <= '9'; }

static void tg_parse_number(tg_parser *json, tg_value *value) {
    const char *begins = json->at;
    tg_take(json, "-");
    if (!tg_is_digit(json)) json->is_bad = true;
    if (!tg_take(json, "0"))
        while (tg_is_digit(json)) json->at++;
    if (tg_take(json, ".")) {
        if (!tg_is_digit(json)) json->is_bad = true;
        while (tg_is_digit(json)) json->at++;
    }
    if (tg_take(json, "e") || tg_take(json, "E")) {
        if (!tg_take(json, "-")) tg_take(json, "+");
        if (!tg_is_digit(json)) json->is_bad = true;
        while (tg_is_digit(json)) json->at++;
    }
    value->kind = TG_NUMBER;
    value->text = (tg_text){begins, (uint32_t)(json->at - begins)};
}

static const tg_value *tg_parse(tg_parser *json) {
    tg_value *value = tg_room(sizeof *value);
    *value = (tg_value){0};
    tg_skip_space(json);
    if (json->is_bad || ++json->depth > 100) {
        json->is_bad = true;
        return value;
    }
    bool is_object = tg_take(json, "{");
    if (is_object || tg_take(json, "[")) {
        const char *ends = is_object ? "}" : "]";
        value->kind = is_object ? TG_OBJECT : TG_LIST;
        const tg_value **last = &value->first;
        tg_skip_space(json);
        if (!tg_take(json, ends)) {
            do {
                tg_text key = {0};
                if (is_object) {
                    tg_skip_space(json);
                    if (!tg_take(json, "\"")) json->is_bad = true;
                    key = tg_parse_string(json);
                    tg_skip_space(json);
                    if (!tg_take(json, ":")) json->is_bad = true;
                }
                tg_value *entry = (tg_value *)tg_parse(json);
                entry->key = key;
                *last = entry;
                last = &entry->next;
                tg_skip_space(json);
            } while (!json->is_bad && tg_take(json, ","));
            if (!tg_take(json, ends)) json->is_bad = true;
        }
    } else if (tg_take(json, "\"")) {
        value->kind = TG_STRING;
        value->text = tg_parse_string(json);
    } else if (tg_take(json, "true")) {
        value->kind = TG_BOOL;
        value->flag = true;
    } else if (tg_take(json, "false")) {
        value->kind = TG_BOOL;
    } else if (!tg_take(json, "null")) {
        tg_parse_number(json, value);
    }
    json->depth--;
    return value;
}

static const tg_value *tg_get(tg_settings of, const char *key) {
    if (!of.value || of.value->kind != TG_OBJECT) return 0;
    for (const tg_value *entry = of.value->first; entry; entry = entry->next)
        if (tg_is(entry->key, key)) return entry;
    return 0;
}

static tg_text tg_path(tg_settings of, tg_text key) {
    return of.path.length ? tg_formatted("%t.%t", &of.path, &key) : key;
}

// That a value is not what it should be.
static void tg_other(tg_text path, const tg_value *found, tg_text expected) {
    static const char *const kinds[] = {"null", "true or false", "", "", "a list", "an object"};
    tg_text kind = tg_text_of(kinds[found->kind]);
    if (found->kind == TG_NUMBER) kind = found->text;
    if (found->kind == TG_STRING) kind = tg_formatted("`%t`", &found->text);
    tg_fault_at(path, tg_formatted("found %t, expected %t", &kind, &expected));
}

static bool tg_whole(tg_text text, uint32_t *number) {
    uint64_t value = 0;
    for (uint32_t at = 0; at < text.length; at++) {
        if (text.at[at] < '0' || text.at[at] > '9') return false;
        value = value * 10 + (uint64_t)(text.at[at] - '0');
        if (value > UINT32_MAX) return false;
    }
    *number = (uint32_t)value;
    return true;
}

// A number with at most 15 digits and a small exponent, which is exact or rounded once, as every reader rounds it.
static bool tg_decimal(tg_text text, double *number) {
    double power = 1;
    uint64_t digits = 0;
    int32_t exponent = 0, written = 0;
    uint32_t at = 0, count = 0;
    bool is_negative = text.length && text.at[0] == '-', is_behind = false, down = false;
    for (at = is_negative; at < text.length; at++) {
        char letter = text.at[at];
        if (letter == '.') {
            is_behind = true;
            continue;
        }
        if (letter == 'e' || letter == 'E') break;
        digits = digits * 10 + (uint64_t)(letter - '0');
        if (digits && ++count > 15) return false;
        exponent -= is_behind;
    }
    for (at++; at < text.length; at++) {
        char letter = text.at[at];
        if (letter == '-') down = true;
        else if (letter != '+') written = written * 10 + (letter - '0');
        if (written > 1000) return false;
    }
    exponent += down ? -written : written;
    if (exponent > 22 || exponent < -22) return false;
    for (int32_t left = exponent < 0 ? -exponent : exponent; left > 0; left--) power *= 10;
    double value = exponent < 0 ? (double)digits / power : (double)digits * power;
    *number = is_negative ? -value : value;
    return true;
}

__attribute__((unused)) static bool tg_has(tg_settings of, const char *key) { return tg_get(of, key) != 0; }

__attribute__((unused)) static uint32_t tg_u32_or(tg_settings of, const char *key, uint32_t fallback) {
    const tg_value *found = tg_get(of, key);
    uint32_t number = fallback;
    if (found && (found->kind != TG_NUMBER || !tg_whole(found->text, &number)))
        tg_other(tg_path(of, tg_text_of(key)), found, tg_text_of("a whole number from 0 to 4294967295"));
    return number;
}

__attribute__((unused)) static uint32_t tg_u32(tg_settings of, const char *key) {
    if (!tg_has(of, key)) tg_fault_at(of.path, tg_formatted("missing field `%s`", key));
    return tg_u32_or(of, key, 0);
}

__attribute__((unused)) static double tg_f64_or(tg_settings of, const char *key, double fallback) {
    const tg_value *found = tg_get(of, key);
    double number = fallback;
    if (found && (found->kind != TG_NUMBER || !tg_decimal(found->text, &number)))
        tg_other(tg_path(of, tg_text_of(key)), found, tg_text_of("a number of at most 15 digits"));
    return number;
}

__attribute__((unused)) static bool tg_bool_or(tg_settings of, const char *key, bool fallback) {
    const tg_value *found = tg_get(of, key);
    if (!found) return fallback;
    if (found->kind != TG_BOOL) tg_other(tg_path(of, tg_text_of(key)), found, tg_text_of("true or false"));
    return found->flag;
}

static tg_settings tg_nested(tg_settings of, const char *key, uint32_t kind, const char *expected) {
    tg_settings nested = {tg_get(of, key), tg_path(of, tg_text_of(key))};
    if (nested.value && nested.value->kind != kind) {
        tg_other(nested.path, nested.value, tg_text_of(expected));
        nested.value = 0;
    }
    return nested;
}

static tg_settings tg_object(tg_settings of, const char *key) { return tg_nested(of, key, TG_OBJECT, "an object"); }

__attribute__((unused)) static tg_settings tg_list(tg_settings of, const char *key) {
    return tg_nested(of, key, TG_LIST, "a list");
}

__attribute__((unused)) static uint32_t tg_length(tg_settings list) {
    uint32_t length = 0;
    for (const tg_value *entry = list.value ? list.value->first : 0; entry; entry = entry->next) length++;
    return length;
}

static tg_text tg_names(const char *const *names, uint32_t count) {
    tg_builder text = {0};
    for (uint32_t at = 0; at < count; at++) {
        if (at) tg_add(&text, ", ", 2);
        tg_add(&text, names[at], tg_length_of(names[at]));
    }
    return (tg_text){text.at, text.length};
}

__attribute__((unused)) static uint32_t tg_choice(tg_settings list, uint32_t at, const char *const *names,
                                                  uint32_t count) {
    const tg_value *entry = list.value ? list.value->first : 0;
    for (uint32_t skipped = 0; entry && skipped < at; skipped++) entry = entry->next;
    if (!entry) return count;
    if (entry->kind == TG_STRING)
        for (uint32_t name = 0; name < count; name++)
            if (tg_is(entry->text, names[name])) return name;
    tg_text path = tg_formatted("%t.%u", &list.path, at), known = tg_names(names, count);
    tg_other(path, entry, tg_formatted("one of %t", &known));
    return count;
}

__attribute__((unused)) static void tg_no_other_keys(tg_settings of, const char *const *names, uint32_t count) {
    for (const tg_value *entry = of.value ? of.value->first : 0; entry; entry = entry->next) {
        bool is_known = false;
        for (uint32_t name = 0; name < count; name++) is_known |= tg_is(entry->key, names[name]);
        tg_text known = tg_names(names, count);
        if (!is_known) tg_fault_at(tg_path(of, entry->key), tg_formatted("unknown key, expected %t", &known));
    }
}

__attribute__((unused)) static tg_settings tg_profile(void) { return tg_object(tg_bound.document, "profile"); }
__attribute__((unused)) static tg_settings tg_service(void) { return tg_object(tg_bound.document, "service"); }

// ---------------------------------------------------------------- asking

__attribute__((unused)) static void tg_want_causes(uint32_t causes) { tg_bound.causes |= causes; }

static bool tg_same(tg_text one, tg_text other) {
    if (one.length != other.length) return false;
    for (uint32_t at = 0; at < one.length; at++)
        if (one.at[at] != other.at[at]) return false;
    return true;
}

static tg_column tg_input_of(tg_input wanted) {
    uint32_t at = 0;
    for (; at < tg_bound.inputs_length; at++) {
        tg_input *known = &tg_bound.inputs[at];
        if (known->source == wanted.source && known->span_s == wanted.span_s && tg_same(known->name, wanted.name) &&
            tg_same(known->averaging, wanted.averaging)) {
            known->required |= wanted.required;
            return (tg_column){at};
        }
    }
    if (at == 256) __builtin_trap(); // The contract's limit, which a policy meets when it is first tried.
    tg_bound.inputs[tg_bound.inputs_length++] = wanted;
    return (tg_column){at};
}

__attribute__((unused)) static tg_column tg_want_window(const char *signal, uint32_t span_s, const char *averaging) {
    return tg_input_of((tg_input){0, tg_text_of(signal), span_s, tg_text_of(averaging), true});
}

__attribute__((unused)) static tg_column tg_want_fact(const char *name, bool required) {
    return tg_input_of((tg_input){1, tg_text_of(name), 0, {0}, required});
}

__attribute__((unused)) static tg_column tg_want_output(const char *name, bool required) {
    return tg_input_of((tg_input){2, tg_text_of(name), 0, {0}, required});
}

__attribute__((unused)) static tg_column tg_give_output(const char *name) {
    uint32_t at = 0;
    for (; at < tg_bound.outputs_length; at++)
        if (tg_is(tg_bound.outputs[at], name)) return (tg_column){at};
    if (at == 256) __builtin_trap();
    tg_bound.outputs[tg_bound.outputs_length++] = tg_text_of(name);
    return (tg_column){at};
}

// ---------------------------------------------------------------- deciding

struct tg_notes {
    double *outputs;
    uint32_t outputs_length, stride;
    tg_explanation *told; // Only when somebody reads.
};

__attribute__((unused)) static double tg_read(const tg_seen *seen, tg_column input) {
    uint64_t at = (uint64_t)input.at * seen->stride + seen->at;
    return at < seen->inputs_length ? seen->inputs[at] : tg_no_data();
}

__attribute__((unused)) static tg_text tg_word(const tg_seen *seen, tg_column input) {
    double at = tg_read(seen, input);
    return at >= 0 && at < seen->words_length ? seen->words[(uint32_t)at] : (tg_text){0};
}

__attribute__((unused)) static void tg_give(tg_notes *notes, tg_column output, double value) {
    if (output.at < notes->outputs_length) notes->outputs[output.at * notes->stride] = value;
}

__attribute__((unused)) static void tg_reason(tg_notes *notes, const char *format, ...) {
    if (!notes->told) return;
    va_list values;
    va_start(values, format);
    notes->told->reason = tg_format(format, values);
    va_end(values);
}

__attribute__((unused)) static void tg_figure(tg_notes *notes, const char *name, double value) {
    if (!notes->told) return;
    uint32_t length = notes->told->figures_length;
    tg_figure_record *figures = tg_room((length + 1) * sizeof *figures);
    if (length) __builtin_memcpy(figures, notes->told->figures, length * sizeof *figures);
    figures[length] = (tg_figure_record){tg_text_of(name), value};
    notes->told->figures = figures;
    notes->told->figures_length = length + 1;
}

// How params cross: the number of outputs, which sizes the answer, and behind it the author's struct as it lies in memory.
enum { TG_PARAMS_BEGIN = 8 };

static const char *const tg_schema;
static const uint32_t tg_params_size, tg_state_size;
static void tg_call_bind(tg_settings settings, void *params);
static void tg_call_init(const void *params, uint64_t at_ms, double ready, void *state);
static tg_decision tg_call_decide(const void *params, void *state, const tg_seen *seen, tg_notes *notes);

static void *tg_failed(const char *message, tg_numbers culprits) {
    tg_answered.is_err = 1;
    tg_answered.failure = (tg_failure){culprits, tg_text_of(message)};
    return &tg_answered;
}

// The targets whose params or states are not of this policy's layout: all of them, so that the host asks again once.
static tg_numbers tg_at_fault(const tg_bytes *params, uint32_t params_length, tg_numbers params_of, const tg_states *states) {
    tg_numbers culprits = {0};
    uint32_t begins = 0;
    for (uint32_t at = 0; at < params_of.length; at++) {
        uint32_t of = params_of.at[at];
        bool is_good = of < params_length && params[of].length == TG_PARAMS_BEGIN + tg_params_size;
        if (states) {
            uint32_t ends = at < states->ends.length ? states->ends.at[at] : UINT32_MAX;
            is_good &= ends <= states->bytes.length && ends >= begins && ends - begins == tg_state_size;
            begins = ends;
        }
        if (is_good) continue;
        if (!culprits.at) culprits.at = tg_room(params_of.length * sizeof *culprits.at);
        culprits.at[culprits.length++] = at;
    }
    return culprits;
}

static tg_states tg_states_for(uint32_t targets) {
    tg_states states = {{tg_room((size_t)targets * tg_state_size), targets * tg_state_size},
                        {tg_room((size_t)targets * sizeof *states.ends.at), targets}};
    for (uint32_t at = 0; at < targets; at++) states.ends.at[at] = (at + 1) * tg_state_size;
    return states;
}

__attribute__((export_name("tidegate:policy/scaling@0.1.0#bind"))) void *tg_export_bind(const char *text,
                                                                                       uint32_t length) {
    tg_parser json = {text, text + length, false, 0};
    tg_bound.document.value = tg_parse(&json);
    tg_skip_space(&json);
    uint8_t *params = tg_room(TG_PARAMS_BEGIN + tg_params_size);
    __builtin_memset(params, 0, TG_PARAMS_BEGIN + tg_params_size);
    if (json.is_bad || json.at != json.end) {
        tg_fault("", "the document is not JSON");
    } else if (!tg_has(tg_bound.document, "settings")) {
        tg_fault("", "missing field `settings`");
    } else {
        tg_call_bind(tg_object(tg_bound.document, "settings"), params + TG_PARAMS_BEGIN);
    }
    if (tg_bound.faults_length) {
        tg_answered.is_err = 1;
        tg_answered.faults.at = tg_bound.faults;
        tg_answered.faults.length = tg_bound.faults_length;
        return &tg_answered;
    }
    *(uint32_t *)params = tg_bound.outputs_length;
    tg_answered.program = (tg_program){
        {params, TG_PARAMS_BEGIN + tg_params_size},
        0, // Each target stands alone.
        (uint8_t)tg_bound.causes,
        tg_bound.inputs,
        tg_bound.inputs_length,
        tg_bound.outputs,
        tg_bound.outputs_length,
        tg_bound.warnings,
        tg_bound.warnings_length,
    };
    return &tg_answered;
}

__attribute__((export_name("tidegate:policy/scaling@0.1.0#init"))) void *
tg_export_init(uint64_t at_ms, const tg_bytes *params, uint32_t params_length, uint32_t *params_of, uint32_t targets,
               const double *ready, uint32_t ready_length) {
    tg_numbers of = {params_of, targets}, culprits = tg_at_fault(params, params_length, of, 0);
    if (ready_length != targets) return tg_failed("ready is not as long as the call", (tg_numbers){0});
    if (culprits.length) return tg_failed("params are not of this policy's layout", culprits);
    tg_states states = tg_states_for(targets);
    __builtin_memset(states.bytes.at, 0, states.bytes.length);
    uint8_t *state = tg_room(tg_state_size);
    for (uint32_t at = 0; at < targets; at++) {
        __builtin_memset(state, 0, tg_state_size);
        tg_call_init(params[params_of[at]].at + TG_PARAMS_BEGIN, at_ms, ready[at], state);
        __builtin_memcpy(states.bytes.at + (size_t)at * tg_state_size, state, tg_state_size);
    }
    tg_answered.states = states;
    return &tg_answered;
}

// The one way in which decisions are made, with `told` as long as the batch if somebody reads.
static void *tg_run(const tg_batch *seen, tg_explanation *told) {
    uint32_t targets = seen->causes_of.length, outputs = 0;
    if (seen->params_of.length != targets || seen->groups.length != targets || seen->states.ends.length != targets)
        return tg_failed("the columns of the call are not equally long", (tg_numbers){0});
    tg_numbers culprits = tg_at_fault(seen->params, seen->params_length, seen->params_of, &seen->states);
    if (culprits.length) return tg_failed("params or state are not of this policy's layout", culprits);
    for (uint32_t at = 0; at < seen->params_length; at++) {
        if (seen->params[at].length != TG_PARAMS_BEGIN + tg_params_size) continue;
        uint32_t announced = *(const uint32_t *)seen->params[at].at;
        if (announced > outputs) outputs = announced;
    }
    tg_decisions decided = {
        .wanted = {tg_room((size_t)targets * 4), targets},
        .apply = {tg_room(targets), targets},
        .next_at_ms = {tg_room((size_t)targets * 8), targets},
        .outputs = {tg_room((size_t)targets * outputs * 8), targets * outputs},
        .states = tg_states_for(targets),
    };
    for (uint32_t at = 0; at < decided.outputs.length; at++) decided.outputs.at[at] = tg_no_data();
    uint8_t *state = tg_room(tg_state_size);
    for (uint32_t at = 0; at < targets; at++) {
        tg_seen one = {
            .at_ms = seen->at_ms,
            .causes = seen->causes_of.at[at],
            .group = seen->groups.at[at],
            .inputs = seen->inputs.at,
            .inputs_length = seen->inputs.length,
            .stride = targets,
            .at = at,
            .words = seen->words,
            .words_length = seen->words_length,
        };
        tg_notes notes = {decided.outputs.at + at, outputs, targets, told ? told + at : 0};
        __builtin_memcpy(state, seen->states.bytes.at + (size_t)at * tg_state_size, tg_state_size);
        const uint8_t *params = seen->params[seen->params_of.at[at]].at + TG_PARAMS_BEGIN;
        tg_decision decision = tg_call_decide(params, state, &one, &notes);
        __builtin_memcpy(decided.states.bytes.at + (size_t)at * tg_state_size, state, tg_state_size);
        decided.wanted.at[at] = decision.wanted;
        decided.apply.at[at] = decision.apply;
        decided.next_at_ms.at[at] = decision.next_at_ms;
    }
    tg_answered.decisions = decided;
    return &tg_answered;
}

__attribute__((export_name("tidegate:policy/scaling@0.1.0#decide"))) void *tg_export_decide(const tg_batch *seen) {
    return tg_run(seen, 0);
}

__attribute__((export_name("tidegate:policy/scaling@0.1.0#explain"))) void *tg_export_explain(const tg_batch *seen) {
    uint32_t targets = seen->causes_of.length;
    tg_explanation *told = tg_room((size_t)targets * sizeof *told);
    __builtin_memset(told, 0, (size_t)targets * sizeof *told);
    tg_run(seen, told);
    if (!tg_answered.is_err) {
        tg_answered.explanations.at = told;
        tg_answered.explanations.length = targets;
    }
    return &tg_answered;
}

__attribute__((export_name("tidegate:policy/scaling@0.1.0#state-schema"))) void *tg_export_state_schema(void) {
    static tg_text schema;
    schema = tg_text_of(tg_schema);
    return &schema;
}

// States of the policy's own layout are taken as they are; there is no way to bring over others yet.
__attribute__((export_name("tidegate:policy/scaling@0.1.0#migrate"))) void *
tg_export_migrate(uint64_t at_ms, const tg_bytes *params, uint32_t params_length, uint32_t *params_of, uint32_t targets,
                  const double *ready, uint32_t ready_length, const char *schema, uint32_t schema_length,
                  uint8_t *bytes, uint32_t bytes_length, uint32_t *ends, uint32_t ends_length) {
    (void)at_ms, (void)params, (void)params_length, (void)params_of, (void)targets, (void)ready, (void)ready_length;
    tg_text from = {schema, schema_length};
    if (tg_is(from, tg_schema)) {
        tg_answered.states = (tg_states){{bytes, bytes_length}, {ends, ends_length}};
        return &tg_answered;
    }
    tg_failed("", (tg_numbers){0});
    tg_answered.failure.message =
        tg_formatted("state of layout %t cannot be turned into layout %s", &from, tg_schema);
    return &tg_answered;
}

// Makes a component's exports of three functions:
//
//     void bind(tg_settings settings, PARAMS *params);
//     void init(const PARAMS *params, uint64_t at_ms, double ready, STATE *state);
//     tg_decision decide(const PARAMS *params, STATE *state, const tg_seen *seen, tg_notes *notes);
//
// PARAMS and STATE are plain data without pointers, and all zeros when `bind` and `init` get them. SCHEMA names the layout of STATE:
// the policy's name and a number that goes up whenever the layout changes.
#define TG_SCALING(SCHEMA, PARAMS, STATE, BIND, INIT, DECIDE)                                                          \
    static const char *const tg_schema = SCHEMA;                                                                       \
    static const uint32_t tg_params_size = sizeof(PARAMS), tg_state_size = sizeof(STATE);                              \
    static void tg_call_bind(tg_settings settings, void *params) { BIND(settings, (PARAMS *)params); }                 \
    static void tg_call_init(const void *params, uint64_t at_ms, double ready, void *state) {                          \
        INIT((const PARAMS *)params, at_ms, ready, (STATE *)state);                                                    \
    }                                                                                                                  \
    static tg_decision tg_call_decide(const void *params, void *state, const tg_seen *seen, tg_notes *notes) {         \
        return DECIDE((const PARAMS *)params, (STATE *)state, seen, notes);                                            \
    }

#endif
