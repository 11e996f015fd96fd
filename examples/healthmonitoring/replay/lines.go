package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

const (
	// maxLine bounds a line in bytes.
	maxLine = 1 << 20
	// keptOfLong is how much of a line that is too long its row holds: enough to recognise it, and little enough to travel
	// in a message.
	keptOfLong = 64 << 10
)

// row is one line that is not blank, or the error that ended the recording.
type row struct {
	number int
	raw    []byte
	err    error
}

// lines cuts r into lines. The bytes of each belong to the receiver.
func lines(r io.Reader) iter.Seq[row] {
	return func(yield func(row) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		for number := 1; ; number++ {
			raw, size, err := readLine(in)
			if number == 1 {
				raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
			}
			next := row{number: number, raw: raw}
			switch {
			case err != nil && !errors.Is(err, io.EOF):
				next.err = fmt.Errorf("%w: line %d: %w", ErrUnreadable, number, err)
				yield(next)
				return
			case size > maxLine:
				next.err = fmt.Errorf("%w: %d bytes", ErrTooLong, size)
			}
			blank := next.err == nil && len(bytes.TrimSpace(raw)) == 0
			if !blank && !yield(next) {
				return
			}
			if err != nil {
				return
			}
		}
	}
}

// readLine returns a line without its end, and how long it is; one that is too long is cut. At the end of the input the
// error is io.EOF, next to what came last.
func readLine(in *bufio.Reader) (raw []byte, size int, err error) {
	for {
		chunk, err := in.ReadSlice('\n')
		size += len(chunk)
		raw = append(raw, chunk...)
		if len(raw) > maxLine+2 {
			raw = raw[:maxLine+2]
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if ended := bytes.HasSuffix(chunk, []byte("\n")); ended {
			size--
			if size > 0 && len(raw) > size && raw[size-1] == '\r' {
				size--
			}
		}
		raw = raw[:min(len(raw), size)]
		if size > maxLine {
			raw = bytes.Clone(raw[:keptOfLong])
		}
		return raw, size, err
	}
}
