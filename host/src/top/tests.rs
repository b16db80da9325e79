use insta::assert_snapshot;
use ratatui::crossterm::event::KeyEvent;

use super::*;
use crate::status::sample;

fn top() -> Top {
    let mut top = Top::default();
    top.hear(Ok(sample::status()));
    top
}

fn screen(top: &Top, width: u16, height: u16) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| view::draw(top, frame));
    text_of(&terminal)
}

fn press(top: &mut Top, code: KeyCode) -> After {
    top.press(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn all_services_fit_a_small_terminal() {
    assert_snapshot!(screen(&top(), 80, 24), @r"
    tidegate 0.1.0 up 6 min  3 ready of 4  12 waiting  26 in flight  4.5 of 6 GPUs
    dry run: it decides, and starts or stops nothing
    pinned by hand: whisper to 0 for 90 min

    SERVICE       READY  WANT  CHANGES    WAIT  OLDEST  FLIGHT  WHY
    llama-3-8b        3     3  −1            –              26  26.4 in flight over
    mistral-7b        0     1  +1           12     4 s       –  [fake] a request wai
    whisper           0     0  !2            –               –  [pinned] [made room]

    box  A40 ■ ■ ■ ■
    spare  RTX A5000 ◧ □

    knative        healthy   9f2c41d07be6 builtin:knative, for 6 min; shadow differs
    scale-to-zero  failing   17ab90c2d4e5 policies/retention.wasm, for 6 min; out of
    placement      healthy   c01dfe55a7b2 builtin:affinity, for 6 min

         4 s ago  mistral-7b         0 → 1   a request waits and nothing is ready sc
        60 s ago  llama-3-8b         4 → 3   26.4 in flight over 60 s, target 10 kna
       2 min ago  whisper            1 → 0   <script>alert('policy')</script> scale-
       3 min ago  whisper            0 → 1   a request waits and nothing is ready sc
       5 min ago  llama-3-8b         1 → 4   panic: 38.0 in flight over 6 s, target
       6 min ago  llama-3-8b         – → 1   initial scale knative 9f2c41d07be6
       6 min ago  mistral-7b         – → 0   initial scale knative 9f2c41d07be6
    ↑↓ mark   enter one service   q quit
    ");
}

#[test]
fn one_service_is_shown_with_its_replicas_and_decisions() {
    let mut top = top();
    assert_eq!(press(&mut top, KeyCode::Enter), After::Stay);
    assert_snapshot!(screen(&top, 80, 24), @r"
    llama-3-8b 3 ready of 3, from 0 to 4; 0 waiting, 26 in flight

    REPLICA PHASE    SINCE    WHERE         PORT  PID     FLIGHT WHY
    #0      ready       6 min box GPU 0     20000 41000        9
    #1      ready       5 min box GPU 1     20001 41001        9
    #2      ready       4 min box GPU 2     20002 41002        8
    #3      draining     60 s box GPU 3     20003 41003        2

        60 s ago    4 → 3   26.4 in flight over 60 s, target 10 knative 9f2c41d07be6
       5 min ago    1 → 4   panic: 38.0 in flight over 6 s, target 10 (maximum: 5 →
       6 min ago    – → 1   initial scale knative 9f2c41d07be6












    esc back   ↑↓ earlier decisions   q quit
    ");
    press(&mut top, KeyCode::Esc);
    press(&mut top, KeyCode::End);
    press(&mut top, KeyCode::Right);
    assert_snapshot!(screen(&top, 80, 14), @r"
    whisper 0 ready of 0, from 0 to 1; 0 waiting, 0 in flight
    pinned to 0 by hand for 90 min
    2 failures in a row, waits 8 s more

    REPLICA PHASE    SINCE    WHERE         PORT  PID     FLIGHT WHY
    #7      failed       12 s –             20007 41007        – exit code 1: CUDA o

       2 min ago    1 → 0   <script>alert('policy')</script> scale-to-zero 17ab90c2d
       3 min ago    0 → 1   a request waits and nothing is ready scale-to-zero 17ab9




    esc back   ↑↓ earlier decisions   q quit
    ");
}

#[test]
fn as_text_it_has_no_marks_and_no_keys() {
    assert_snapshot!(plain(sample::status(), 100), @r"
    tidegate 0.1.0 up 6 min  3 ready of 4  12 waiting  26 in flight  4.5 of 6 GPUs
    dry run: it decides, and starts or stops nothing
    pinned by hand: whisper to 0 for 90 min

    SERVICE               READY  WANT  CHANGES    WAIT  OLDEST  FLIGHT  WHY
    llama-3-8b                3     3  −1            –              26  26.4 in flight over 60 s, target
    mistral-7b                0     1  +1           12     4 s       –  [fake] a request waits and nothi
    whisper                   0     0  !2            –               –  [pinned] [made room] <script>ale

    box  A40 ■ ■ ■ ■
    spare  RTX A5000 ◧ □

    knative        healthy   9f2c41d07be6 builtin:knative, for 6 min; shadow differs in 7 of 100
    scale-to-zero  failing   17ab90c2d4e5 policies/retention.wasm, for 6 min; out of fuel after 110000 i
    placement      healthy   c01dfe55a7b2 builtin:affinity, for 6 min

         4 s ago  mistral-7b         0 → 1   a request waits and nothing is ready scale-to-zero 17ab90c2
        60 s ago  llama-3-8b         4 → 3   26.4 in flight over 60 s, target 10 knative 9f2c41d07be6
       2 min ago  whisper            1 → 0   <script>alert('policy')</script> scale-to-zero 17ab90c2d4e5
       3 min ago  whisper            0 → 1   a request waits and nothing is ready scale-to-zero 17ab90c2
       5 min ago  llama-3-8b         1 → 4   panic: 38.0 in flight over 6 s, target 10 (maximum: 5 → 4)
       6 min ago  llama-3-8b         – → 1   initial scale knative 9f2c41d07be6
       6 min ago  mistral-7b         – → 0   initial scale knative 9f2c41d07be6
    ");
}

#[test]
fn keys_stay_within_what_there_is() {
    let mut empty = Top::default();
    for code in [KeyCode::Up, KeyCode::Down, KeyCode::Enter, KeyCode::End, KeyCode::Esc] {
        press(&mut empty, code);
    }
    let mut top = top();
    for _ in 0..9 {
        press(&mut top, KeyCode::Down);
    }
    assert_eq!(top.marked, 2);
    let mut fewer = sample::status();
    fewer.services.truncate(1);
    top.hear(Ok(fewer));
    assert_eq!(top.marked, 0);
    assert_eq!(press(&mut top, KeyCode::Enter), After::Stay);
    assert_eq!(press(&mut top, KeyCode::Esc), After::Stay, "back first");
    assert_eq!(press(&mut top, KeyCode::Esc), After::Quit);
    assert_eq!(press(&mut top, KeyCode::Char('q')), After::Quit);
}

#[test]
fn what_was_last_heard_stays_when_nothing_is_heard() {
    let mut top = top();
    top.hear(Err("nobody answers at 127.0.0.1:1".into()));
    let screen = screen(&top, 80, 24);
    assert!(screen.contains("llama-3-8b"), "{screen}");
    assert!(screen.contains("as it last was; nobody answers at 127.0.0.1:1"), "{screen}");
}

#[test]
fn no_size_and_no_text_upsets_it() {
    let mut status = sample::status();
    status.services[0].name = "\u{1b}[2J\u{1b}]0;x\u{7}\nname\u{202e}".repeat(20);
    status.decisions[6].reason = "\u{1b}[31mred\r\n".into();
    for (width, height) in [(1, 1), (2, 3), (20, 5), (80, 24), (300, 100)] {
        for is_near in [false, true] {
            let mut top = Top { is_near, ..Top::default() };
            top.hear(Ok(status.clone()));
            let screen = screen(&top, width, height);
            assert!(!screen.contains('\u{1b}') && !screen.contains('\u{7}'), "{screen:?}");
        }
    }
}

#[test]
fn addresses_are_read_as_people_write_them() {
    for text in ["http://127.0.0.1:8081", "127.0.0.1:8081/", "localhost:1", "http://[::1]:8081"] {
        assert!(text.parse::<Address>().is_ok(), "{text}");
    }
    for text in ["", "localhost", ":80", "http://a b:80", "http://x:99999", "https://x:1", "a@b:1"]
    {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}
