// SPDX-License-Identifier: Apache-2.0

package org.apache.flink.metrics.prometheus;

import io.prometheus.client.exporter.HTTPServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.util.Properties;
import org.apache.flink.metrics.reporter.MetricReporter;
import org.apache.flink.metrics.reporter.MetricReporterFactory;

/**
 * Flink's Prometheus reporter on one address: the stock one listens on every network of the machine and cannot be told otherwise.
 *
 * <p>Lives in Flink's package because the registry of metrics is visible there only. Settings: host, port.
 */
public final class LoopbackReporterFactory implements MetricReporterFactory {
  @Override
  public MetricReporter createMetricReporter(Properties settings) {
    String host = settings.getProperty("host", "127.0.0.1");
    int port = Integer.parseInt(settings.getProperty("port", "9249"));
    return new LoopbackReporter(new InetSocketAddress(host, port));
  }

  private static final class LoopbackReporter extends AbstractPrometheusReporter {
    private final HTTPServer server;

    LoopbackReporter(InetSocketAddress address) {
      try {
        server = new HTTPServer(address, registry, true);
      } catch (IOException e) {
        throw new UncheckedIOException("metrics cannot be served at " + address, e);
      }
    }

    @Override
    public void close() {
      server.stop();
      super.close();
    }
  }
}
