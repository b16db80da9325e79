//! The pure core of the gateway: queue, pick of a replica, deadline, per-second report. The simulator and the real gateway use it
//! alike. It has no sockets and no clock.
