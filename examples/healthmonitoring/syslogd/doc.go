// Package syslogd receives syslog: from the network on UDP and TCP, and from log files that it follows as they grow.
//
// # Words
//
//   - Message: one log line in one of the forms below; ParseLine turns it into a health.Syslog.
//   - Frame: one message on a TCP connection. Octet-counted ("LEN MSG") and newline- or NUL-terminated frames (RFC 6587)
//     are told apart frame by frame, so senders need no configuration.
//   - Rejected: what could not be read, with its bytes, where it came from and why.
//
// # Forms
//
//	<27>1 2026-11-23T05:00:00.123456Z web1 app 12 ID7 - text     RFC 5424
//	<27>Nov 23 05:00:01 web1 app[12]: text                       RFC 3164, also with a year, fractions or no host
//	Nov 23 05:00:01 web1 app[12]: text                           the same in a log file, taken as user.notice
//	2026-11-23T05:00:00.123456+00:00 web1 app[12]: text          modern rsyslog's files, with or without a priority
//	<27>text                                                     no time: taken as written now, from the network only
//
// RFC 5424 is parsed by leodido/go-syslog, strictly. The BSD form is free text with habits rather than a format; it is
// parsed here, because files, missing hosts, IPv6 hosts and control characters have to pass too.
//
// # Guarantees
//
//   - Nothing is lost silently: each frame, datagram and line goes to Deliver or to Reject. Only blank ones are skipped.
//   - Garbage costs its sender a rejection and nobody else anything: sizes and the number of connections are bounded, and
//     a slow, silent or hostile sender holds up no other. After an oversize frame the connection goes on with the next.
//   - Close and Follow return when the last goroutine is gone; no handler is called after that.
//
// # Caveats
//
//   - Deliver and Reject are called from several goroutines at once. While Deliver blocks, its own sender is held up: a TCP
//     peer waits, but a full socket buffer of UDP makes the kernel drop datagrams, which no receiver can see.
//   - RFC 3164 has no year: it is the latest one that puts the message at most a week into the future, unless Year is set.
//   - A followed file is looked at four times a second. Text that is written and truncated away between two looks, or
//     that a file holds which was created and renamed away between them, is not seen.
package syslogd
