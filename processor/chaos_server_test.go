package processor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded"
)

// chaosServerEnv makes the test binary a server, a process that can be killed. Its value is an embedded.Config.
const chaosServerEnv = "ROSSBY_TEST_SERVER"

// runChaosServer serves until the test ends, or this process is killed.
func runChaosServer(text string) int {
	var cfg embedded.Config
	err := json.Unmarshal([]byte(text), &cfg)
	if err == nil {
		err = serveUntilEOF(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		return 1
	}
	return 0
}

func serveUntilEOF(cfg embedded.Config) error {
	s, err := embedded.Start(context.Background(), cfg)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Stop()
}

// chaosServers is a cluster of three servers, each a process.
type chaosServers struct {
	t       *testing.T
	servers [3]*chaosServer
}

type chaosServer struct {
	cfg    embedded.Config
	health string // URL
	cmd    *exec.Cmd
	log    *os.File
}

func startChaosServers(t *testing.T) *chaosServers {
	t.Helper()
	c := &chaosServers{t: t}
	ports := unusedPorts(t, 3*len(c.servers))
	clients, routes, monitors := ports[:3], ports[3:6], ports[6:]
	var urls []string
	for _, port := range routes {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	dir := t.TempDir()
	t.Cleanup(c.stop)
	for i := range c.servers {
		name := fmt.Sprintf("n%d", i)
		text := fmt.Sprintf("http: \"127.0.0.1:%d\"\ncluster { name: chaos, listen: \"127.0.0.1:%d\", routes: [%s] }\n", monitors[i], routes[i], strings.Join(urls, ", "))
		file := filepath.Join(dir, name+".conf")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		log, err := os.Create(filepath.Join(dir, name+".log"))
		require.NoError(t, err)
		c.servers[i] = &chaosServer{
			cfg:    embedded.Config{Name: name, Port: clients[i], Dir: filepath.Join(dir, name), ConfigFile: file},
			health: fmt.Sprintf("http://127.0.0.1:%d/healthz", monitors[i]),
			log:    log,
		}
		c.start(i)
	}
	for i := range c.servers {
		c.waitHealthy(i)
	}
	return c
}

// unusedPorts finds n ports that are free now.
func unusedPorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }() // all of them are held until there are enough
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (c *chaosServers) urls() (urls []string) {
	for _, s := range c.servers {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", s.cfg.Port))
	}
	return urls
}

func (c *chaosServers) start(i int) {
	c.t.Helper()
	s := c.servers[i]
	text, err := json.Marshal(s.cfg)
	require.NoError(c.t, err)
	s.cmd = exec.Command(os.Args[0]) // #nosec: this very program
	s.cmd.Env = append(os.Environ(), chaosServerEnv+"="+string(text))
	s.cmd.Stderr = s.log
	_, err = s.cmd.StdinPipe() // its end tells the process when this one has died
	require.NoError(c.t, err)
	require.NoError(c.t, s.cmd.Start())
}

// waitHealthy waits until a server follows the others.
func (c *chaosServers) waitHealthy(i int) {
	c.t.Helper()
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	require.Eventually(c.t, func() bool {
		answer, err := client.Get(c.servers[i].health)
		return err == nil && errors.Join(answer.Body.Close()) == nil && answer.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "server %d does not become healthy", i)
}

// kill ends a server as a power cut would end its process.
func (c *chaosServers) kill(i int) {
	c.t.Helper()
	require.NoError(c.t, c.servers[i].cmd.Process.Kill())
	_ = c.servers[i].cmd.Wait()
	c.servers[i].cmd = nil
}

// stop leaves no process behind, and shows the logs of a run that has failed.
func (c *chaosServers) stop() {
	for i, s := range c.servers {
		if s == nil {
			continue
		}
		if s.cmd != nil && s.cmd.Process != nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		_ = s.log.Close()
		if text, err := os.ReadFile(s.log.Name()); err == nil && len(text) > 0 {
			c.t.Logf("server %d: %s", i, text[max(0, len(text)-5000):])
		}
	}
}
