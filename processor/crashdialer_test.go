package processor_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// crashPoint is a moment in the life of an instance: the n-th message that it publishes of a kind.
type crashPoint struct {
	step  string // see deathAt.step; a pattern, see path.Match
	n     int    // counted from 1
	after bool   // the server has the message, but its answer is lost
}

// deathAt is a dialer of connections that die together, for ever, at a crash point. It is how a process ends at that step, seen from the server.
type deathAt struct {
	app   string     // its name, which messages have in their subjects
	point crashPoint // the zero value: never

	mu    sync.Mutex
	steps map[string]int // messages of each kind that were published
	count int            // messages of the point's kind
	dead  bool
	conns []net.Conn
}

var errDead = errors.New("the process has died")

// Dial implements nats.CustomDialer.
func (d *deathAt) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, errDead
	}
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	d.conns = append(d.conns, c)
	return &dyingConn{Conn: c, d: d}, nil
}

// die ends all connections. It is called with the mutex held.
func (d *deathAt) die() {
	d.dead = true
	for _, c := range d.conns {
		_ = c.Close()
	}
}

func (d *deathAt) died() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// seen tells how many messages of each kind were published.
func (d *deathAt) seen() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.steps)
}

var (
	randomNames = regexp.MustCompile(`\.[0-9A-Za-z]{22}\b|\.[0-9A-Za-z]{8}$|\.[0-9A-Za-z]{8}\._rossby.*`) // of members and consumers
	outputKeys  = regexp.MustCompile(`^app-(out|dead-letters)\.0\..*`)
)

// step says which kind of message this is: its subject without what is different each time.
func (d *deathAt) step(subject string) string {
	subject = strings.ReplaceAll(strings.TrimPrefix(subject, "$JS.API."), d.app, "app")
	return outputKeys.ReplaceAllString(randomNames.ReplaceAllString(subject, ".*"), "app-$1.0.*")
}

// note counts a message, and says whether it is the last one.
func (d *deathAt) note(op []byte) bool {
	verb, rest, _ := bytes.Cut(op, []byte(" "))
	if v := string(verb); v != "PUB" && v != "HPUB" {
		return false
	}
	subject, _, _ := bytes.Cut(rest, []byte(" "))
	step := d.step(string(subject))
	if d.steps == nil {
		d.steps = make(map[string]int)
	}
	d.steps[step]++
	if !matches(d.point.step, step) {
		return false
	}
	d.count++
	return d.count == d.point.n
}

// matches tells whether a step is of a pattern.
func matches(pattern, step string) bool {
	match, err := path.Match(pattern, step)
	return match && err == nil
}

// dyingConn takes what the client says apart.
type dyingConn struct {
	net.Conn
	d    *deathAt
	rest []byte // of an operation that is not whole
}

// Write sends whole operations only.
func (c *dyingConn) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		n := operation(c.rest)
		if n == 0 {
			return len(p), nil
		}
		if err := c.send(c.rest[:n]); err != nil {
			return 0, err
		}
		c.rest = c.rest[n:]
	}
}

func (c *dyingConn) send(op []byte) error {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.d.dead {
		return errDead
	}
	last := c.d.note(op)
	if last && !c.d.point.after {
		c.d.die()
		return errDead
	}
	_, err := c.Conn.Write(op)
	if last {
		// The server reads what came before a connection ends: it has been carried out.
		c.d.dead = true
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, c.Conn)
		c.d.die()
		return errDead
	}
	return err
}

// operation returns how long the first operation in the text of the client is, 0: it is not whole.
func operation(text []byte) int {
	line, err := bufio.NewReader(bytes.NewReader(text)).ReadSlice('\n')
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(line))
	size := 0
	if len(fields) > 2 && (fields[0] == "PUB" || fields[0] == "HPUB") {
		payload, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil {
			return 0
		}
		size = payload + len("\r\n")
	}
	if len(line)+size > len(text) {
		return 0
	}
	return len(line) + size
}
