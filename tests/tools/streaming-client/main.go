// SPDX-License-Identifier: Apache-2.0

// streaming-client drives a streaming server with the executors that kubectl, crictl and kubelet use.
//
//	streaming-client exec [flags] URL      stdin, stdout and stderr are passed through; one JSON line on fd 3
//	streaming-client forward [flags] URL   prints "listening PORT" for each, runs until its stdin ends
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
)

type result struct {
	OK    bool   `json:"ok"`
	Code  int    `json:"code"`
	Error string `json:"error"`
}

// sizes hands out what "80x24,100x40" says: the first at once, each other when the command has written a line.
type sizes struct {
	left  []string
	lines chan struct{}
	later bool
}

func (s *sizes) Next() *remotecommand.TerminalSize {
	if len(s.left) == 0 {
		return nil
	}
	if s.later {
		<-s.lines
	}
	s.later = true
	var t remotecommand.TerminalSize
	if _, err := fmt.Sscanf(s.left[0], "%dx%d", &t.Width, &t.Height); err != nil {
		panic(err)
	}
	s.left = s.left[1:]
	return &t
}

// lineTeller passes its input on and tells of each line's end.
type lineTeller struct {
	to    io.Writer
	lines chan struct{}
}

func (l *lineTeller) Write(p []byte) (int, error) {
	n, err := l.to.Write(p)
	for range bytes.Count(p[:n], []byte("\n")) {
		select {
		case l.lines <- struct{}{}:
		default: // nobody waits for as many
		}
	}
	return n, err
}

func executor(transport, protocols string, target *url.URL) (remotecommand.Executor, error) {
	config := &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	if transport == "websocket" {
		if protocols == "" {
			return remotecommand.NewWebSocketExecutor(config, http.MethodGet, target.String())
		}
		return remotecommand.NewWebSocketExecutorForProtocols(config, http.MethodGet, target.String(), strings.Split(protocols, ",")...)
	}
	rt, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	if protocols == "" {
		return remotecommand.NewSPDYExecutorForTransports(rt, upgrader, http.MethodPost, target)
	}
	return remotecommand.NewSPDYExecutorForProtocols(rt, upgrader, http.MethodPost, target, strings.Split(protocols, ",")...)
}

func report(err error) {
	out := os.NewFile(3, "result")
	r := result{OK: err == nil}
	var exit utilexec.CodeExitError
	if errors.As(err, &exit) {
		r.Code = exit.Code
	}
	if err != nil {
		r.Error = err.Error()
	}
	_ = json.NewEncoder(out).Encode(r)
}

func runExec(args []string) error {
	f := flag.NewFlagSet("exec", flag.ExitOnError)
	transport := f.String("transport", "spdy", "spdy or websocket")
	protocols := f.String("protocols", "", "comma-separated, by preference")
	streams := f.String("streams", "ioe", "letters of tioe: tty, stdin, stdout, stderr")
	size := f.String("sizes", "", "80x24,100x40")
	timeout := f.Duration("timeout", 30*time.Second, "gives up")
	_ = f.Parse(args)
	target, err := url.Parse(f.Arg(0))
	if err != nil {
		return err
	}
	e, err := executor(*transport, *protocols, target)
	if err != nil {
		return err
	}
	o := remotecommand.StreamOptions{Tty: strings.Contains(*streams, "t")}
	if strings.Contains(*streams, "i") {
		o.Stdin = os.Stdin
	}
	if strings.Contains(*streams, "o") {
		o.Stdout = os.Stdout
	}
	if strings.Contains(*streams, "e") {
		o.Stderr = os.Stderr
	}
	if *size != "" {
		queue := &sizes{left: strings.Split(*size, ",")}
		queue.lines = make(chan struct{}, len(queue.left))
		o.TerminalSizeQueue = queue
		o.Stdout = &lineTeller{os.Stdout, queue.lines}
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	return e.StreamWithContext(ctx, o)
}

func runForward(args []string) error {
	f := flag.NewFlagSet("forward", flag.ExitOnError)
	transport := f.String("transport", "spdy", "spdy or websocket")
	ports := f.String("ports", "", "0:8080,0:8081")
	_ = f.Parse(args)
	target, err := url.Parse(f.Arg(0))
	if err != nil {
		return err
	}
	config := &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	stop, ready := make(chan struct{}), make(chan struct{})
	var forwarder *portforward.PortForwarder
	if *transport == "websocket" {
		dialer, err := portforward.NewSPDYOverWebsocketDialer(target, config)
		if err != nil {
			return err
		}
		forwarder, err = portforward.New(dialer, strings.Split(*ports, ","), stop, ready, io.Discard, os.Stderr)
		if err != nil {
			return err
		}
	} else {
		rt, upgrader, err := spdy.RoundTripperFor(config)
		if err != nil {
			return err
		}
		dialer := spdy.NewDialer(upgrader, &http.Client{Transport: rt}, http.MethodPost, target)
		forwarder, err = portforward.New(dialer, strings.Split(*ports, ","), stop, ready, io.Discard, os.Stderr)
		if err != nil {
			return err
		}
	}
	go func() {
		<-ready
		list, err := forwarder.GetPorts()
		if err != nil {
			panic(err)
		}
		for _, p := range list {
			fmt.Printf("listening %d\n", p.Local)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	return forwarder.ForwardPorts()
}

func main() {
	var err error
	switch {
	case len(os.Args) > 2 && os.Args[1] == "exec":
		err = runExec(os.Args[2:])
	case len(os.Args) > 2 && os.Args[1] == "forward":
		err = runForward(os.Args[2:])
	default:
		err = errors.New("usage: streaming-client exec|forward [flags] URL")
	}
	report(err)
	if err != nil {
		fmt.Fprintln(os.NewFile(3, "result"), "")
		os.Exit(1)
	}
}
