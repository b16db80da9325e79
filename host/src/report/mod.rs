//! Replays as text, JSON and a page. It prints what it is given and plans nothing.
