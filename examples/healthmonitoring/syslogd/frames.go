package syslogd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxFrame bounds a message in bytes, in each transport. It is the largest datagram that UDP can carry.
const maxFrame = 64 << 10

// maxSkip bounds how much of an octet-counted frame that is too long is read and dropped to reach the next one. A count
// beyond it is rather garbage that looks like a count.
const maxSkip = 16 << 20

// errLostFraming ends a connection on which the beginning of the next frame cannot be found any more.
var errLostFraming = fmt.Errorf("%w: its count is beyond 16 MiB, so the connection is closed", ErrTooLong)

// frames splits a TCP stream into messages as RFC 6587 has them, and decides for each frame anew which of its two methods
// the sender uses: a count of octets, or a newline or NUL at the end.
type frames struct {
	in   *bufio.Reader
	buf  []byte
	skip int  // octets left of a counted frame that was too long
	tail bool // the rest of a terminated frame that was too long is still to be skipped
}

func newFrames(in io.Reader) *frames { return &frames{in: bufio.NewReader(in)} }

// next returns the next frame that is not blank, without its framing and valid until the next call. With ErrTooLong it
// returns the beginning of a frame and goes on with the one after it at the next call. Every other error is final; the
// bytes beside it are what was read of the frame in hand. io.EOF is the clean end.
func (f *frames) next() ([]byte, error) {
	if err := f.resync(); err != nil {
		return nil, err
	}
	// Blank frames, and the newline that some senders put after a counted frame.
	for {
		c, err := f.in.ReadByte()
		if err != nil {
			return nil, err
		}
		if c != '\n' && c != '\r' && c != 0 {
			break
		}
	}
	if err := f.in.UnreadByte(); err != nil {
		return nil, err
	}
	if digits, count := f.octetCount(); digits > 0 {
		return f.counted(digits, count)
	}
	return f.terminated()
}

// resync skips what is left of a frame that was too long.
func (f *frames) resync() error {
	if f.skip > 0 {
		n, err := io.CopyN(io.Discard, f.in, int64(f.skip))
		f.skip -= int(n)
		if err != nil {
			return err
		}
	}
	for f.tail {
		chunk, err := f.peek()
		if err != nil {
			return err
		}
		end := terminator(chunk)
		f.tail = end < 0
		if end < 0 {
			end = len(chunk)
		}
		if _, err := f.in.Discard(end); err != nil {
			return err
		}
	}
	return nil
}

// octetCount recognises "COUNT <" without consuming it: MSG-LEN, a space and the beginning of a priority. Anything less
// would take lines of text that begin with a number, or with the year of a time, for counts. It reads no further than it
// has to, because a sender may wait for an answer that never comes before it sends more.
func (f *frames) octetCount() (digits, count int) {
	const maxDigits = 9
	for i := range maxDigits + 1 {
		head, err := f.in.Peek(i + 1)
		if err != nil {
			return 0, 0
		}
		c := head[i]
		switch {
		case isDigit(c) && (i > 0 || c != '0') && i < maxDigits:
			count = count*10 + int(c-'0')
		case c == ' ' && i > 0:
			if head, err = f.in.Peek(i + 2); err != nil || head[i+1] != '<' {
				return 0, 0
			}
			return i, count
		default:
			return 0, 0
		}
	}
	return 0, 0
}

func (f *frames) counted(digits, count int) ([]byte, error) {
	if count > maxSkip {
		head, err := f.in.Peek(min(f.in.Buffered(), digits+1+maxFrame))
		return head, errors.Join(errLostFraming, err)
	}
	if _, err := f.in.Discard(digits + 1); err != nil {
		return nil, err
	}
	take := min(count, maxFrame)
	f.grow(take)
	n, err := io.ReadFull(f.in, f.buf[:take])
	if err != nil {
		return f.buf[:n], fmt.Errorf("%w: %d of %d octets came: %w", ErrCutOff, n, count, err)
	}
	if count > maxFrame {
		f.skip = count - maxFrame
		return f.buf[:take], ErrTooLong
	}
	return f.buf[:take], nil
}

func (f *frames) terminated() ([]byte, error) {
	f.buf = f.buf[:0]
	for {
		chunk, err := f.peek()
		if errors.Is(err, io.EOF) {
			// Many senders leave out the last newline, and the end of the stream says as much.
			return f.buf, nil
		}
		if err != nil {
			return f.buf, fmt.Errorf("%w: %w", ErrCutOff, err)
		}
		end := terminator(chunk)
		whole := end >= 0
		if !whole {
			end = len(chunk)
		}
		room := maxFrame - len(f.buf)
		f.buf = append(f.buf, chunk[:min(end, room)]...)
		if end > room {
			f.tail = true
			_, err = f.in.Discard(room)
			return f.buf, errors.Join(ErrTooLong, err)
		}
		if _, err := f.in.Discard(end); err != nil || whole {
			return f.buf, err
		}
	}
}

// peek returns what is buffered, at least one byte.
func (f *frames) peek() ([]byte, error) {
	if _, err := f.in.Peek(1); err != nil {
		return nil, err
	}
	return f.in.Peek(f.in.Buffered())
}

func (f *frames) grow(n int) {
	if cap(f.buf) < n {
		f.buf = make([]byte, n)
	}
	f.buf = f.buf[:n]
}

// terminator returns where the first newline or NUL is, -1 when there is none.
func terminator(b []byte) int {
	end := bytes.IndexByte(b, '\n')
	if end >= 0 {
		b = b[:end]
	}
	if nul := bytes.IndexByte(b, 0); nul >= 0 {
		return nul
	}
	return end
}
