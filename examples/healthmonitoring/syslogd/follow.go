package syslogd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// lookEvery is how often a followed file is looked at. Looking costs one stat call, needs no limited kernel resource and
// works on every file system, which cannot be said of change notifications.
const lookEvery = 250 * time.Millisecond

// Follow reads the lines that are appended to the file at path, as "tail -F" does, until ctx ends; then it returns nil.
// Of cfg it uses Host, Year, Location, Deliver and Reject, and calls the latter two from the caller's goroutine only;
// trouble with the file itself is rejected with empty Raw, once until it changes.
//
// It begins at the end of the file, or at the beginning of a line that is being written there just then. A file that does
// not exist yet is read from its beginning once it does. A file that is renamed away is read until its successor at path
// holds text; a truncated one is read again from its beginning. The error, which comes at once or never, says what is
// wrong with the path, or is an ErrConfig.
func Follow(ctx context.Context, path string, cfg Config) error {
	w, err := watch(path, cfg)
	if err != nil {
		return err
	}
	return w.run(ctx)
}

// watched is the file in hand and what is known about it. One goroutine has it.
type watched struct {
	path    string
	out     outlet
	file    *os.File // nil while there is none
	offset  int64    // of the next byte to be read
	line    []byte   // beginning of a line whose end is not written yet
	skip    bool     // the rest of a line that was too long is still to be skipped
	problem string   // the last error told, so that it is told once
	buf     []byte
}

// watch opens the file at its end, if it is there.
func watch(path string, cfg Config) (*watched, error) {
	w := &watched{path: path, out: newOutlet(cfg)}
	if err := w.out.check(); err != nil {
		return nil, err
	}
	if err := w.open(true); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("syslogd: cannot follow: %w", err)
	}
	return w, nil
}

func (w *watched) run(ctx context.Context) error {
	defer w.close()
	for pause(ctx, lookEvery) {
		w.look(ctx)
	}
	return nil
}

// look reads what is new, and moves on to the successor of a file that was replaced.
func (w *watched) look(ctx context.Context) {
	w.read(ctx)
	there, err := os.Stat(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Between the two steps of a rotation. The old file may still be written to.
		return
	case err != nil:
		w.tell(err)
		return
	}
	if w.file != nil {
		here, err := w.file.Stat()
		if err != nil {
			w.tell(err)
			return
		}
		if os.SameFile(here, there) {
			if here.Size() < w.offset {
				w.cutOff("the file was truncated")
				w.offset = 0
				w.read(ctx)
			}
			return
		}
		if there.Size() == 0 {
			// Programs go on writing to the old file until they are told to open the new one.
			return
		}
		w.read(ctx)
		w.finish()
		w.close()
	}
	if err := w.open(false); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			w.tell(err)
		}
		return
	}
	w.problem = ""
	w.read(ctx)
}

// open opens the file, to be read from its beginning or from the line that is being written at its end.
func (w *watched) open(atEnd bool) error {
	info, err := os.Stat(w.path)
	if err != nil {
		return err
	}
	// Before opening: a pipe would hold up the open until somebody writes to it.
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", w.path)
	}
	file, err := os.Open(w.path)
	if err != nil {
		return err
	}
	w.file, w.offset, w.line, w.skip = file, 0, nil, false
	if !atEnd {
		return nil
	}
	if w.offset, err = lastLine(file); err != nil {
		w.close()
		return err
	}
	return nil
}

// lastLine returns the offset behind the last newline, or the end of a file that has none in its last 64 KiB.
func lastLine(file *os.File) (int64, error) {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	tail := make([]byte, min(end, maxFrame))
	n, err := file.ReadAt(tail, end-int64(len(tail)))
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	newline := bytes.LastIndexByte(tail[:n], '\n')
	if newline < 0 && int64(n) < end {
		return end, nil
	}
	return end - int64(len(tail)) + int64(newline) + 1, nil
}

func (w *watched) close() {
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
}

// read passes on every line that is complete.
func (w *watched) read(ctx context.Context) {
	if w.file == nil {
		return
	}
	if w.buf == nil {
		w.buf = make([]byte, maxFrame)
	}
	for ctx.Err() == nil {
		n, err := w.file.ReadAt(w.buf, w.offset)
		w.offset += int64(n)
		w.split(w.buf[:n])
		if err != nil && !errors.Is(err, io.EOF) {
			w.tell(err)
		}
		if err != nil || n == 0 {
			return
		}
	}
}

// split cuts text into lines and keeps the beginning of the last one.
func (w *watched) split(text []byte) {
	for len(text) > 0 {
		part, rest, ended := bytes.Cut(text, []byte("\n"))
		text = rest
		if !w.skip {
			room := maxFrame - len(w.line)
			w.line = append(w.line, part[:min(len(part), room)]...)
			if len(part) > room {
				w.skip = true
				w.out.reject(Rejected{Source: "file", Remote: w.path, Raw: w.line, Err: ErrTooLong})
				w.line = nil
			}
		}
		if ended {
			w.finish()
		}
	}
}

// finish passes on the line in hand. NULs at its beginning are the hole that truncation leaves under a program which goes
// on writing where it was.
func (w *watched) finish() {
	if !w.skip {
		w.out.take(bytes.TrimLeft(w.line, "\x00"), "file", func() string { return w.path })
	}
	w.line, w.skip = w.line[:0], false
}

// cutOff rejects the beginning of a line that will never be ended.
func (w *watched) cutOff(why string) {
	if len(w.line) > 0 {
		w.out.reject(Rejected{Source: "file", Remote: w.path, Raw: bytes.Clone(w.line), Err: fmt.Errorf("%w: %s", ErrCutOff, why)})
	}
	w.line, w.skip = w.line[:0], false
}

// tell reports an error of the file itself, once until it changes.
func (w *watched) tell(err error) {
	if w.problem == err.Error() {
		return
	}
	w.problem = err.Error()
	w.out.reject(Rejected{Source: "file", Remote: w.path, Err: err})
}
