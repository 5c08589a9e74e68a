// SPDX-License-Identifier: Apache-2.0

package org.apache.beam.runners.fnexecution.control;

import org.apache.beam.model.fnexecution.v1.BeamFnApi.DelayedBundleApplication;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.ProcessBundleResponse;
import org.apache.beam.runners.core.StateInternalsFactory;
import org.apache.beam.runners.core.StateNamespace;
import org.apache.beam.runners.core.StateNamespaces;
import org.apache.beam.runners.core.StateTags;
import org.apache.beam.runners.core.TimerInternalsFactory;
import org.apache.beam.sdk.coders.Coder;
import org.apache.beam.sdk.coders.CoderException;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.util.*; // where older Beams have WindowedValue
import org.apache.beam.sdk.values.*; // where newer ones have it
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.Duration;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.Timestamp;
import org.joda.time.Instant;

/**
 * Takes the place of Beam's class of this name, which gives the rest of every range that is left for later a state and a timer with a name
 * of its own and never forgets one: with RocksDB each is a column family. After five minutes of twelve partitions there were 1,116, and
 * a job that was to go on from that savepoint was still making them six minutes later. Here the one rest of an element has one name: the
 * state is kept per element, and the next rest is there only after the timer of the last one has fired. Elements must differ.
 *
 * <p>Also heeds delays and watermarks below a second, of which Beam's takes the whole seconds only.
 */
public class BundleCheckpointHandlers {

  /** The rest of each element as keyed state, and a timer in processing time that takes it up again. */
  public static class StateAndTimerBundleCheckpointHandler<T> implements BundleCheckpointHandler {
    public static final String SDF_PREFIX = "sdf_checkpoint";
    private static final String NAME = SDF_PREFIX + ":rest";

    private final TimerInternalsFactory<T> timers;
    private final StateInternalsFactory<T> states;
    private final Coder<WindowedValue<T>> coder;

    @SuppressWarnings("rawtypes") // as it is called
    private final Coder windowCoder;

    @SuppressWarnings("rawtypes")
    public StateAndTimerBundleCheckpointHandler(
        TimerInternalsFactory<T> timers, StateInternalsFactory<T> states, Coder<WindowedValue<T>> coder, Coder windowCoder) {
      this.timers = timers;
      this.states = states;
      this.coder = coder;
      this.windowCoder = windowCoder;
    }

    public static boolean isSdfTimer(String timer) {
      return timer.startsWith(SDF_PREFIX);
    }

    @Override
    public void onCheckpoint(ProcessBundleResponse response) {
      for (DelayedBundleApplication rest : response.getResidualRootsList()) {
        if (rest.hasApplication()) {
          keep(rest);
        }
      }
    }

    @SuppressWarnings("unchecked")
    private void keep(DelayedBundleApplication rest) {
      WindowedValue<T> value;
      try {
        value = CoderUtils.decodeFromByteArray(coder, rest.getApplication().getElement().toByteArray());
      } catch (CoderException e) {
        throw new IllegalStateException("the rest of a range cannot be read", e);
      }
      long hold = BoundedWindow.TIMESTAMP_MAX_VALUE.getMillis();
      for (Timestamp watermark : rest.getApplication().getOutputWatermarksMap().values()) {
        hold = Math.min(hold, watermark.getSeconds() * 1000 + watermark.getNanos() / 1_000_000);
      }
      if (rest.getApplication().getOutputWatermarksMap().isEmpty()) {
        hold = BoundedWindow.TIMESTAMP_MIN_VALUE.getMillis();
      }
      Duration delay = rest.getRequestedTimeDelay(); // zero when none is asked for
      Instant due = Instant.now().plus(delay.getSeconds() * 1000 + delay.getNanos() / 1_000_000);
      for (BoundedWindow window : value.getWindows()) {
        StateNamespace namespace = StateNamespaces.window(windowCoder, window);
        timers
            .timerInternalsForKey(value.getValue())
            .setTimer(namespace, NAME, "", due, Instant.ofEpochMilli(hold), TimeDomain.PROCESSING_TIME);
        states.stateInternalsForKey(value.getValue()).state(namespace, StateTags.value(NAME, coder)).write(value);
      }
    }
  }
}
